"""Vectors of an index's segments under FAISS: kinds, training, files, search of several segments; knows no text."""
