"""The ten claims of "Boosting Zero-shot Cross-lingual Retrieval", held against finished outputs of csgen evaluate."""
