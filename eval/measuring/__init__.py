"""Measures, tests, bins, distances and fairness: numbers from runs and qrels; knows no files."""
