"""Variants of queries: switched, latinised, misspelt and expanded."""
