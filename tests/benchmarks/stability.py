"""`python -m tests.benchmarks.stability --json`: freshness against stability, on a real room.

The shipped `context` model decides once a minute whether the lamp is on, on the UCI occupancy data that it was not
trained on (2,665 minutes); the whole agent steps, in process. A decision earns 1 when it is what the room needed (on
when someone is in). A flip is a decision other than the one before; people see it. Each setting runs the same minutes;
`[placement.stability]` is all that differs.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from models.datasets import read_occupancy
from tests.edge_agent.house import HOME, House

MARGINS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
HOLDS = (0.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0)
FALLBACK = 'fallback = "lights-off"\n'
MINUTE_MS = 60_000


def lived(margin: float, hold_s: float) -> dict[str, Any]:
    """The days of the room under one setting."""
    asked = f"stability = {{ switch_margin = {margin}, hold_s = {hold_s} }}\n"
    house = House(HOME.replace(FALLBACK, FALLBACK + asked, 1)).everyone_agrees()
    right = flips = asked_models = 0
    before = ""
    rows = read_occupancy("test")
    for number, row in enumerate(rows):
        house.now += MINUTE_MS
        seen = {"temperature": row.temperature, "humidity": row.humidity, "light": row.light, "co2": row.co2}
        house.tell(
            house.message(f"home/{house.agent.device}/room", {"id": f"r{number}", "time": house.now / 1e3, **seen})
        )
        made = house.decisions()[-1]
        house.sent.clear()
        house.effects.clear()
        item = made.items[0]
        right += (item == "lights-on") == bool(row.occupied)
        flips += bool(before) and item != before
        asked_models += made.fallback == ""
        before = item
    return {
        "switch_margin": margin,
        "hold_s": hold_s,
        "flips_per_1000": flips / len(rows) * 1_000,
        "reward": right / len(rows),
        "model_asked": asked_models / len(rows),
    }


def draw(found: dict[str, Any], path: Path) -> None:
    """The curve, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.0, 4.2))
    for name, unit, above in (("switch_margin", "", True), ("hold_s", " s", False)):
        points = found[name]
        axes.plot([p["flips_per_1000"] for p in points], [p["reward"] for p in points], "o-", label=name)
        labels: dict[tuple[float, float], tuple[tuple[float, float], list[str]]] = {}
        for p in points:
            at = (p["flips_per_1000"], p["reward"])
            labels.setdefault((round(at[0], 1), round(at[1] * 80)), (at, []))[1].append(f"{p[name]:g}")
        for at, settings in labels.values():
            told = ", ".join(settings) + unit
            axes.annotate(told, at, (8, 5 if above else -13), textcoords="offset points", fontsize=8)
    axes.margins(x=0.12)
    axes.set_xlabel("flips in 1,000 decisions (fewer is steadier)")
    axes.set_ylabel("reward a decision (higher is fresher)")
    axes.set_title("One setting: how steady decisions are")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--plot", type=Path, help="draw the curve into this file (PNG)")
    asked = parser.parse_args()
    found = {
        "minutes": len(read_occupancy("test")),
        "switch_margin": [lived(margin, 0.0) for margin in MARGINS],
        "hold_s": [lived(0.0, hold_s) for hold_s in HOLDS],
    }
    if asked.plot:
        draw(found, asked.plot)
    if asked.json:
        print(json.dumps(found))
        return
    for name in ("switch_margin", "hold_s"):
        for one in found[name]:  # type: ignore[attr-defined]
            print(
                f"{name} {one[name]:>7g}: {one['flips_per_1000']:6.2f} flips in 1,000, reward {one['reward']:.4f}, "
                f"model asked {one['model_asked']:.0%}"
            )


if __name__ == "__main__":
    main()
