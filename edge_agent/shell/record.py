"""Replay: the journal's events again, on a fresh agent; the decisions must come out the same, bit for bit."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.agent import Agent, step
from edge_agent.decide import decision
from edge_agent.decide.decision import Trail
from edge_agent.doors import Doors, utc
from edge_agent.effects import Append, Drop, Effect, Put
from edge_agent.errors import StoreUnavailable
from edge_agent.happenings import BundleReady, BundleStaged, BundleWithdrawn, Happening
from edge_agent.infer.bundle import Backend, load_model
from edge_agent.infer.model import LoadedModel
from edge_agent.shell import database
from edge_agent.shell.shelf import name_of
from firmware_configs.loader import Loaded
from models.bundle import SUFFIX

OVER_BUDGET = "over the budget"
NOT_RECALLED = ("dedupe", "ledger", "meta")
"""Rooms that are read whole at a start, and not by key."""


class Difference(Struct, frozen=True, kw_only=True):
    """A decision that came out otherwise."""

    id: str
    field: str
    recorded: str
    replayed: str


class Replayed(Struct, frozen=True, kw_only=True):
    """What a replay found."""

    happenings: int
    decisions: int
    differences: list[Difference]
    missing: list[str]
    """Decisions since the journal began that were not made again."""


def replay(
    state_dir: Path,
    loaded: Loaded,
    device: str,
    local_hour: Callable[[int], tuple[int, int]],
    own: Sequence[str] = (),
    home_key: str = "",
    zoned: Callable[[int, str], tuple[int, int, int]] = utc,
    *,
    watch: Callable[[Agent], None] | None = None,
) -> Replayed:
    """Re-run a device's journal and compare with the decisions that it kept.

    Decisions on request are not replayed: a request is not recorded.

    Args:
        state_dir: the agent's folder, with the bundles that it fetched.
        own: paths of the bundles that the settings name.
        home_key: the settings' own.
        zoned: (unix ms, zone) → local hour, weekday and day, for quiet hours and caps of channels.
        watch: is given the agent before it runs.
    Raises:
        StoreUnavailable: there is no journal; the agent was not run with `record = true`.
    """
    connection = database.open_readable(state_dir / database.FILE)
    rows = connection.execute("SELECT made_ms, value FROM shelf WHERE shelf = 'journal' ORDER BY number").fetchall()
    if not rows:
        raise StoreUnavailable(
            f"{state_dir} holds no journal", hint="set record = true in agent.toml before the first start"
        )
    kept, secret = _kept(connection)
    connection.close()
    models: dict[str, LoadedModel] = {}
    trials: dict[str, LoadedModel] = {}
    remembered: dict[tuple[str, str], bytes] = {}
    doors = Doors(
        secret=secret,
        recall=lambda where, key: remembered.get((where, key)),
        models=models,
        over_budget=_recorded_verdicts(kept),
        local_hour=local_hour,
        trials=trials,
        home_key=home_key,
        zoned=zoned,
    )
    agent = Agent(loaded, device, doors)
    if watch is not None:
        watch(agent)
    made: dict[str, Trail] = {}
    backends = {model.name: model.backend for model in loaded.profile.model}
    held = {(model.name, model.version): model for model in (_load(Path(path), backends) for path in own)}
    for batch, now_ms in _batches(rows):
        for happening in batch:
            _follow(happening, models, trials, partial(_put, state_dir=state_dir, held=held, backends=backends))
        for effect in step(agent, batch, now_ms):
            _remember(effect, remembered)
            if isinstance(effect, Append) and effect.shelf == "decision":
                made[effect.id] = decision.unpack(effect.value)
    return Replayed(
        happenings=len(rows),
        decisions=len(made),
        differences=[d for identity in kept for d in _compare(kept[identity], made.get(identity))],
        missing=sorted(i for i, trail in kept.items() if i not in made and trail.decided_ms >= rows[0][0]),
    )


def _follow(
    happening: Happening,
    models: dict[str, LoadedModel],
    trials: dict[str, LoadedModel],
    put: Callable[[dict[str, LoadedModel], str, str], None],
) -> None:
    """Load and let go of bundles when the device did."""
    match happening:
        case BundleReady(name=name, version=version, base=base):
            if base:  # not a mere start, over which trials go on
                trials.pop(name, None)
            put(models, name, version)
        case BundleStaged(name=name, version=version):
            put(trials, name, version)
        case BundleWithdrawn(name=name):
            trials.pop(name, None)
        case _:
            pass


def _kept(connection: sqlite3.Connection) -> tuple[dict[str, Trail], bytes]:
    """The decisions that events caused, by id, and the device's secret."""
    trails = (
        decision.unpack(value)
        for (value,) in connection.execute("SELECT value FROM shelf WHERE shelf = 'decision'").fetchall()
    )
    (secret,) = connection.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()
    return {trail.id: trail for trail in trails if trail.trigger != "request"}, bytes(secret)


def _remember(effect: Effect, remembered: dict[tuple[str, str], bytes]) -> None:
    """Take in what the store would give back later: what was made long ago may still be credited."""
    match effect:
        case Put(room=room) if room not in NOT_RECALLED:
            remembered[room, effect.key] = effect.value
        case Drop():
            remembered.pop((effect.room, effect.key), None)
        case Append(shelf="decision"):
            remembered[effect.shelf, effect.id] = effect.value
        case _:
            pass


def _batches(rows: list[tuple[int, bytes]]) -> Iterator[tuple[list[Happening], int]]:
    for made_ms, value in rows:
        happening: Happening = msgspec.msgpack.decode(value, type=Happening)
        yield [happening], made_ms


def _recorded_verdicts(kept: dict[str, Trail]) -> Callable[[str, float], bool]:
    asked: set[str] = set()

    def over_budget(identity: str, _budget_ms: float) -> bool:
        """The first question starts the watch; the second is answered as it was then."""
        if identity not in asked:
            asked.add(identity)
            return False
        return identity in kept and kept[identity].fallback_reason.startswith(OVER_BUDGET)

    return over_budget


def _load(path: Path, backends: Mapping[str, Backend]) -> LoadedModel:
    return load_model(path, backends.get(name_of(path), "onnx"))


def _put(
    models: dict[str, LoadedModel],
    name: str,
    version: str,
    state_dir: Path,
    held: dict[tuple[str, str], LoadedModel],
    backends: Mapping[str, Backend],
) -> None:
    path = state_dir / "bundles" / f"{name}-{version}{SUFFIX}"
    if (name, version) not in held and path.exists():
        held[name, version] = _load(path, backends)
    if (name, version) in held:
        models[name] = held[name, version]


def _compare(recorded: Trail, replayed: Trail | None) -> list[Difference]:
    if replayed is None:
        return []
    return [
        Difference(
            id=recorded.id,
            field=name,
            recorded=repr(getattr(recorded, name))[:200],
            replayed=repr(getattr(replayed, name))[:200],
        )
        for name in Trail.__struct_fields__
        if getattr(recorded, name) != getattr(replayed, name)
    ]
