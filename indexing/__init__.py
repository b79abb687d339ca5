"""Retrieval: encoder, FAISS shards, lexical index, merging; knows no measure and no server."""
