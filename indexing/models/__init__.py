"""Transformers of Hugging Face, run without padding and in three precisions; knows neither tasks nor training."""
