"""Models built from real data, each with a baseline that it must beat."""

ZOO = ("affinity", "context", "propensity")
