"""`python -m tests.benchmarks.rules --json`: what 1,000 rules over one event cost beside the model's own call.

Rules are drawn from a seed: conditions over numbers, texts, flags and the hour, one item or a list of items; one in
fifty has a part that only the library can evaluate. How many hold for an event is printed. The model's call is the
zoo's `affinity` over MovieLens' 1,682 items and over 34, and `context` with one row, in the same process, hot. `plain`
is every rule evaluated by the library, once a candidate where it speaks of `item`. The fastest block counts.

`--bombs` instead draws expressions that are as dear as the bound lets through, and compares what they took.
"""

import argparse
import contextlib
import json
import random
import resource
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from edge_agent.decide.rules import Rules
from firmware_configs.errors import ExpressionError
from firmware_configs.expressions import compile_expression
from firmware_configs.profile import Rule
from models.bundle import open_bundle
from tests.benchmarks import runner
from tests.benchmarks.runner import BUNDLES, ITEMS
from tests.edge_agent.house import House

MODELS = (("affinity", ITEMS), ("affinity", 34), ("context", 1))
Call = Callable[[int], Any]
BLOCKS, EVENTS = 31, 64
NUMBERS = {"temperature": (15.0, 30.0), "humidity": (20.0, 70.0), "light": (0.0, 1_000.0), "co2": (400.0, 1_600.0)}
TEXTS = {"room": [f"room-{n}" for n in range(12)], "mode": ["home", "away", "night", "party"]}
FLAGS = ["occupied", "window_open", "raining"]


def rules(count: int, items: tuple[str, ...], seed: int) -> list[Rule]:
    """Rules as people write them, from a seed."""
    draw = random.Random(seed)  # noqa: S311
    made = []
    for n in range(count):
        parts = [_about_the_event(draw) for _ in range(draw.choice([1, 2, 2, 3]))]
        if draw.random() < 0.8:
            parts.append(_about_items(draw, items))
        if draw.random() < 0.02:
            parts.append("fields.room.startsWith('room-1')")
        effect = "boost" if draw.random() < 0.4 else "deny"
        when, value = " && ".join(parts), round(draw.uniform(-1.0, 1.0), 2)
        made.append(Rule(name=f"rule-{n}", when=when, effect=effect, value=value, reason="It is so."))  # type: ignore[arg-type]
    return made


def _about_the_event(draw: random.Random) -> str:
    kind = draw.random()
    if kind < 0.4:
        name, (low, high) = draw.choice(list(NUMBERS.items()))
        start = draw.uniform(low, high)
        return f"fields.{name} >= {start:.1f} && fields.{name} < {start + (high - low) * 0.15:.1f}"
    if kind < 0.65:
        name, words = draw.choice(list(TEXTS.items()))
        return f"fields.{name} == '{draw.choice(words)}'"
    if kind < 0.8:
        start = draw.randrange(24)
        end = (start + draw.randrange(1, 8)) % 24
        return f"(hour >= {start} || hour < {end})" if end < start else f"hour >= {start} && hour < {end}"
    if kind < 0.9:
        return draw.choice(["", "!"]) + f"fields.{draw.choice(FLAGS)}"
    return f"weekday in [{draw.randrange(7)}, {draw.randrange(7)}]"


def _about_items(draw: random.Random, items: tuple[str, ...]) -> str:
    if draw.random() < 0.5:
        return f"item == '{draw.choice(items)}'"
    return "item in [" + ", ".join(f"'{item}'" for item in draw.sample(items, min(8, len(items)))) + "]"


def events(seed: int) -> list[dict[str, Any]]:
    """What the rules read, for some events."""
    draw = random.Random(seed)  # noqa: S311
    return [
        {
            "fields": {
                **{name: round(draw.uniform(*span), 1) for name, span in NUMBERS.items()},
                **{name: draw.choice(words) for name, words in TEXTS.items()},
                **{name: draw.random() < 0.5 for name in FLAGS},
            },
            "hour": draw.randrange(24),
            "weekday": draw.randrange(7),
            "subject": "s",
            "session": {"events": float(draw.randrange(1, 30))},
        }
        for _ in range(EVENTS)
    ]


def fastest_us(*calls: Call) -> list[float]:
    """Microseconds a call of each, of its fastest block; blocks alternate, for neighbours come and go."""
    best = [float("inf")] * len(calls)
    for _ in range(BLOCKS):
        for at, call in enumerate(calls):
            started = time.perf_counter()
            for n in range(EVENTS):
                call(n)
            best[at] = min(best[at], (time.perf_counter() - started) / EVENTS * 1e6)
    return best


def model_call(name: str, rows: int) -> tuple[Call, tuple[str, ...]]:
    """The agent's own way to call a model of the zoo; `affinity` with a catalogue of that many items."""
    bundle = open_bundle(max(BUNDLES.glob(f"{name}-*.edgeward")))
    weights = dict(bundle.weights()) if rows < ITEMS else runner.grown(bundle.weights())
    call, feeds = runner.call_of("defaults", bundle, weights, {}), runner.feeds_of(name, rows)
    items = tuple(f"item-{n}" for n in range(rows)) if name == "affinity" else ("lights-on", "lights-off")
    return (lambda _n: call(feeds)), items


def decision_us(name: str) -> float:
    """The agent's whole step for one event that the model decides about: minimise, features, model, trail, ledger."""
    house = House().everyone_agrees()
    numbers = count(1)

    def once(_n: int) -> None:
        house.now += 1_000
        number = next(numbers)
        house.tell(house.pick(number) if name == "affinity" else house.reading(number))
        house.sent.clear()
        house.effects.clear()
        house.shelves.clear()

    return fastest_us(once)[0]


def measured(rules_count: int, name: str, rows: int, seed: int) -> dict[str, Any]:
    """The rules beside one model of the zoo."""
    call, items = model_call(name, rows)
    index = {item: n for n, item in enumerate(items)}
    given, asked = rules(rules_count, items, seed), events(seed)
    started = time.perf_counter()
    compiled = Rules(given)
    compile_ms = (time.perf_counter() - started) * 1e3
    plain = [(compile_expression(rule.when), "item" in compile_expression(rule.when).names) for rule in given]
    holding = [
        len(compiled.apply(items, index, event).fired) + compiled.apply(items, index, event).untold for event in asked
    ]

    def each(n: int) -> None:
        event = asked[n % EVENTS]
        for expression, about in plain:
            for item in items if about else ("",):
                expression.holds({**event, "item": item})

    first = Rules(given[:1])
    rules_us, one_us, model_us = fastest_us(
        lambda n: compiled.apply(items, index, asked[n]), lambda n: first.apply(items, index, asked[n]), call
    )
    started = time.perf_counter()
    for _ in range(EVENTS if len(items) < 10 else 1):
        each(0)
    plain_us = (time.perf_counter() - started) / (EVENTS if len(items) < 10 else 1) * 1e6
    return {
        "model": name,
        "candidates": len(items),
        "rules": rules_count,
        "holding_mean": float(np.mean(holding)),
        "rules_us": rules_us,
        "one_rule_us": one_us,
        "model_us": model_us,
        "agent_step_us": decision_us(name) if rows < ITEMS else None,
        "ratio_to_model": rules_us / model_us,
        "plain_us": plain_us,
        "compile_ms": compile_ms,
    }


def bombs(seconds: float, seed: int) -> dict[str, Any]:
    """The dearest expressions that the bound lets through: what they took, and what was foretold."""
    draw = random.Random(seed)  # noqa: S311
    given = {
        "fields": {"t": "é" * 512, "u": "a" * 512, "n": 5.0, "b": True},
        "item": "x" * 128,
        "hour": 3,
        "weekday": 2,
        "subject": "s" * 256,
        "session": {"events": 3.0},
    }
    worst: list[tuple[float, float, str]] = []
    let_in = refused = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        text = _bomb(draw, 3)
        try:
            expression = compile_expression(text)
        except ExpressionError:
            refused += 1
            continue
        let_in += 1
        took = float("inf")
        for _ in range(3):
            started = time.perf_counter()
            with contextlib.suppress(ExpressionError):
                expression.evaluate(given)
            took = min(took, (time.perf_counter() - started) * 1e6)
        worst.append((took, expression.cost_us, text))
        worst = sorted(worst, reverse=True)[:10]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {
        "let_in": let_in, "refused": refused, "longest_ms": worst[0][0] / 1e3, "grown_mib": grown,
        "worst": [{"took_us": took, "bound_us": bound, "text": text[:100]} for took, bound, text in worst],
    }  # fmt: skip


def _bomb(draw: random.Random, depth: int) -> str:
    leaf = draw.choice(["fields.t", "fields.u", "fields.n", "item", "subject", "1", "'ab'", "true"])
    if depth == 0:
        return leaf
    below = _bomb(draw, depth - 1)
    listed = "[" + ", ".join([draw.choice([leaf, "1", below])] * draw.choice([1, 5, 20, 60, 150])) + "]"
    atom = draw.choice(["\\\\w", "\\\\d", "[^a]", ".", "a?", "(a|b)", "\\\\pL", "(?i)k", "[a-zé]"])
    counted = f"({atom}{{1,{draw.choice([2, 5, 30, 200])}}}){{{draw.choice([1, 3, 20])}}}"
    return draw.choice([
        f"{listed}.map(x, {below})", f"{listed}.filter(x, {below} == x)", f"{listed}.all(x, {below} != x)",
        f"{listed}.exists(x, {leaf}.matches('{counted}'))", f"fields.t.matches('{counted}')",
        f"fields.u.matches('({atom * draw.choice([1, 10, 60])})*x')", " + ".join([below] * draw.choice([2, 10, 50])),
        f"{below} in {listed}", f"({below} == {below}) ? {listed} : {listed}", f"{{'a': {below}, 'b': {listed}}}",
        f"{below}.contains({leaf} + {leaf})", f"string({below})", "[" * 20 + below + "]" * 20,
    ])  # fmt: skip


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--rules", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bombs", type=float, default=0.0, metavar="SECONDS", help="draw dear expressions so long")
    asked = parser.parse_args()
    if asked.bombs:
        found: Any = bombs(asked.bombs, asked.seed)
    else:
        each = [measured(asked.rules, name, rows, asked.seed) for name, rows in MODELS]
        ratios = {f"{one['model']}/{one['candidates']}": one["ratio_to_model"] for one in each}
        found = {"ratio_to_model": ratios, "models": each, "python": sys.version}
    print(json.dumps(found, indent=None if asked.json else 2))


if __name__ == "__main__":
    main()
