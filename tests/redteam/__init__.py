"""The red team: each attack a module that returns its figures, and a small test of it."""
