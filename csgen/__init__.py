"""Training pairs, lexicons and code-switching; knows nothing of models, indexes or measures."""

__version__ = "0.1.0"
