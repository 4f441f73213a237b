"""Bandits: beliefs, probabilities, learning, limits on exploration."""
