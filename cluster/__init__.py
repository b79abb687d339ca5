"""What runs across machines, and the command line."""
