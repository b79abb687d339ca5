"""Bilingual lexicons: readers, the builder, the compiled table."""
