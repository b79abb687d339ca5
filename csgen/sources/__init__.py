"""Where pairs and collections come from: local files, Debian, ir_datasets, the carried sample."""
