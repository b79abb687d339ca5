"""Training of rerankers, encoders and their bases in plain processes of torch; knows no Ray and no command line."""
