"""The models that the package carries, one folder each: small ones, for a first look and for tests without a hub."""
