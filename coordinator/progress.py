"""How a run stands, what of that has changed since one looked last, and both in words."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from coordinator.rounds import Round

UNITS = ("B", "kB", "MB", "GB", "TB")


class Spent(Struct, frozen=True, kw_only=True):
    """What the run's population has spent on its bundle, over all runs."""

    population: str
    epsilon: float
    epsilon_max: float
    delta: float
    accountant: str

    @property
    def left(self) -> float:
        """Of the budget's ε; ε does not add up, so this is a distance and not what one round may cost."""
        return max(0.0, self.epsilon_max - self.epsilon)


class Standing(Struct, frozen=True, kw_only=True):
    """A run as of one moment."""

    key: str
    bundle: str
    version: str
    """The parent."""
    state: str
    """running, at work, cut off, published or failed."""
    result: str = ""
    """The new version, once it is published."""
    failure: str = ""
    fix: str = ""
    """How it can be gone on with; empty: it runs, or it is over for good."""
    started_ms: int = 0
    wanted: int = 0
    """Rounds that were asked for; 0: not known."""
    rounds: tuple[Round, ...] = ()
    """Every attempt of every round, in order."""
    spent: Spent | None = None
    """None: the run is not private."""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in {"published", "failed", "cut off"}


class Change(Struct, frozen=True, kw_only=True):
    """One thing that is not as it was: the run, a round, or what was spent."""

    what: str
    """run, round or privacy."""
    data: dict[str, Any]
    text: str


def changes(before: Standing | None, after: Standing) -> Iterator[Change]:
    """What has happened in between: rounds first, the run's end last; of a first look, all there is, the run first."""
    run = Change(what="run", data=run_data(after), text=run_text(after))
    if before is None:
        yield run
    held = {(row.number, row.attempt): row for row in before.rounds} if before is not None else {}
    for row in after.rounds:
        if not same(held.get((row.number, row.attempt)), row):
            data = {**msgspec.to_builtins(row), "bytes": row.bytes_up + row.bytes_down}
            yield Change(what="round", data=data, text=round_text(row))
    if after.spent is not None and (before is None or not same(before.spent, after.spent)):
        data = {**msgspec.to_builtins(after.spent), "left": after.spent.left}
        yield Change(what="privacy", data=data, text=spent_text(after.spent))
    if before is not None and run.data != run_data(before):
        yield run


def same(one: Struct | None, other: Struct | None) -> bool:
    """Whether two say the same; a loss that is no number is the same as itself, which `==` denies."""
    return msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


def run_data(now: Standing) -> dict[str, Any]:
    """The run alone, for JSON."""
    names = ("key", "bundle", "version", "state", "result", "failure", "fix", "started_ms", "wanted")
    return {name: getattr(now, name) for name in names}


def run_text(now: Standing) -> str:
    """The run alone: `KEY  affinity 1.0.0 → 1.0.1: published`."""
    result = f" → {now.result}" if now.result else ""
    lines = [f"{now.key}  {now.bundle} {now.version}{result}: {now.state}"]
    if now.failure:
        lines.append(f"reason: {flat(now.failure)}")
    if now.fix:
        lines.append(f"to go on: {now.fix}")
    return "\n".join(lines)


def round_text(row: Round) -> str:
    """A round in one line."""
    again = f".{row.attempt}" if row.attempt > 1 else ""
    parts = [f"{row.reports}/{row.asked} reports"]
    parts += [f"{count:,} {name}" for name, count in (("refused", row.refused), ("late", row.late)) if count]
    if told(row):
        parts.append(f"loss {loss_text(row)}")
    parts.append(f"{size(row.bytes_up)} up, {size(row.bytes_down)} down")
    parts += [f"{row.seconds:.1f} s"] if row.seconds else []
    parts += [flat(row.reason)] if row.reason else []
    return f"round {f'{row.number}{again}':<6} {row.state:<10} {'; '.join(parts)}"


def flat(text: str) -> str:
    """On one line; devices' own words may be anything."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def told(row: Round) -> bool:
    """Whether devices told losses: private rounds and secret sums collect none."""
    return row.loss_before != 0.0 or row.loss_after != 0.0


def loss_text(row: Round) -> str:
    """Before → after; a dash where none was told."""
    return f"{row.loss_before:.4f} → {row.loss_after:.4f}" if told(row) else "–"


def spent_text(spent: Spent) -> str:
    """ε spent and left."""
    return (
        f"ε = {spent.epsilon:.3f} of {spent.epsilon_max:g} spent by `{flat(spent.population)}`, {spent.left:.3f} left "
        f"(δ = {spent.delta:g}, {spent.accountant.upper()})"
    )


def size(count: int) -> str:
    """Bytes with a decimal unit: `999 B`, `1.2 MB`."""
    value, unit = float(count), 0
    while value >= 999.95 and unit < len(UNITS) - 1:
        value, unit = value / 1_000, unit + 1
    return f"{count} B" if unit == 0 else f"{value:.1f} {UNITS[unit]}"
