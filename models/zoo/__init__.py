"""Models built from real data, each with a baseline that it must beat."""

ZOO = (
    "affinity",
    "affinity-recent",
    "context",
    "moment",
    "propensity",
    "segment",
    "sequence-attention",
    "sequence-gru",
)
SHIPPED = ("affinity", "context", "propensity", "segment")
"""Built from data that may ship, so the bundle is committed; of the others the graphs are."""
FROM_RATINGS = ("affinity", "affinity-recent", "moment", "sequence-attention", "sequence-gru")
"""Built from the user's own interactions."""
