"""Readers of dictionaries, word lists, dumps and wordnets: each hands over pairs, and knows nothing of lexicons."""
