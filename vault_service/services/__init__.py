"""Use cases: each takes a batch and answers item by item, each is one unit of work."""
