"""Measurement: TREC files, benchmarks, measures, significance, reports; knows no model."""
