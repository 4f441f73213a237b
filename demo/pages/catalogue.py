"""What the corner shop sells, and a first model of what goes together, learned from invented visits."""

import random
import tempfile
from pathlib import Path

from demo.stack import call

THEMES = {
    "tea": {"green-tea": "Green tea", "black-tea": "Black tea", "teapot": "Teapot", "honey": "Honey"},
    "coffee": {"espresso": "Espresso beans", "grinder": "Grinder", "frother": "Milk frother", "filters": "Filters"},
    "breakfast": {"bread": "Rye bread", "butter": "Butter", "jam": "Plum jam", "oats": "Oats"},
}
ITEMS = {item: name for theme in THEMES.values() for item, name in theme.items()}
NAME = "affinity-recent"
BUNDLE = Path(__file__).parent / f"{NAME}-1.0.0.edgeward"
VISITS = 400
TOUCHES = 10
FAITHFUL = 0.97
"""How often a visitor stays with one theme."""


def visits(seed: int = 7) -> str:
    """Invented visits, a touched item a line: `visitor,item,5,unix time`."""
    dice = random.Random(seed)  # noqa: S311
    lines = []
    for visitor in range(VISITS):
        own = list(dice.choice(list(THEMES.values())))
        for n in range(TOUCHES):
            item = dice.choice(own if dice.random() < FAITHFUL else list(ITEMS))
            lines.append(f"{visitor},{item},5,{1_700_000_000 + 1_000 * visitor + 60 * n}\n")
    return "".join(lines)


def build() -> None:
    """Train the bundle again, to the byte: `python -m demo.pages.catalogue`."""
    with tempfile.TemporaryDirectory() as folder:
        ratings = Path(folder) / "visits.csv"
        ratings.write_text(visits())
        call("edge-models", "build", NAME, "--ratings", str(ratings), "--licence", "CC0-1.0", "--out", str(BUNDLE))


if __name__ == "__main__":
    build()
