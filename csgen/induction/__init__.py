"""Lexicons learnt from data: aligned embeddings, parallel text, and pivoting through a third language."""
