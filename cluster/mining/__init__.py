"""The stage `csgen mine`: hard negatives for training pairs, by BM25 or an encoder, with a margin."""
