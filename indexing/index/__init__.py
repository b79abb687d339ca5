"""The index: passages, vectors and terms in shards; what it is made with, filled, searched. Needs no Ray, no torch."""
