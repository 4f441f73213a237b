"""A small complete bundle, made in memory from the committed graphs, and ways to damage it."""

from pathlib import Path

import numpy as np

from models.bundle import open_bundle
from models.spec import Spec

BUNDLES = Path(__file__).parents[2] / "models" / "zoo" / "bundles"


def zoo_path(name: str) -> Path:
    """The newest shipped bundle of one model."""
    return max(BUNDLES.glob(f"{name}-*.edgeward"))


def parts(name: str) -> tuple[Spec, dict[str, bytes]]:
    """Spec and files of a shipped bundle, ready for `write_bundle`."""
    bundle = open_bundle(zoo_path(name))
    return bundle.spec, {file: bundle.read(file) for file in bundle.files}


def taste_ratings(path: Path, people: int = 60, items: int = 60, seed: int = 3) -> Path:
    """A file of interactions with a known truth: half the people touch only even items, half only odd ones.

    Popularity cannot tell the halves apart, so whoever beats it has learned a taste.
    """
    dice = np.random.default_rng(seed)
    lines = []
    for person in range(people):
        own = dice.permutation(np.arange(person % 2, items, 2))[:18]
        lines += [f"p{person},i{item},5,{1000 * person + when}" for when, item in enumerate(own)]
    path.write_text("\n".join(lines) + "\n")
    return path
