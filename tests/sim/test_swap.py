"""A rollout on the real loop and store, cut at any boundary: the old version or the new one whole, no event twice."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from random import Random

import msgspec
import pytest

from edge_agent.happenings import BundleAsked, Message
from edge_agent.infer.model import F32, Array, LoadedModel
from edge_agent.settings import LogSettings, Settings
from edge_agent.shell import run, wish
from edge_agent.shell.run import Loop, Outside
from edge_agent.shell.shelf import BundleShelf
from firmware_configs.loader import parse
from firmware_configs.messages import JSON, DecisionMade
from models.errors import FeedRefused
from tests.benchmarks.load import DEVICE, PROFILE, READING
from tests.edge_agent.trial_house import folder
from tests.models.sample import zoo_path
from tests.sim.disk import SimStore
from tests.sim.wire import Broker, Cut, Fuse, SimLink

OLD, NEW = "1.0.0", "1.0.1"
SWAP = """swap = { shadow_decisions = 8, canary_share = 0.5, canary_decisions = 6, watched_decisions = 6,
 decisions_min = 4, error_max = 0.25 }
[[placement]]""".replace(",\n", ",")
LOADED = parse(PROFILE.replace("[[placement]]", SWAP))
EVENTS, TURNS_MAX = 60, 400


class FaultyShelf(BundleShelf):
    """The new version loads, and fails at every call."""

    def load(self, name: str, version: str) -> LoadedModel:
        model = super().load(name, version)
        if version != NEW:
            return model

        def fails(_feeds: Mapping[str, Array]) -> F32:
            raise FeedRefused("broken for a test", hint="nothing to do")

        return msgspec.structs.replace(model, run=fails)


class Life:
    """One device with both versions on its disk, a broker full of readings, and an operator who starts a rollout."""

    def __init__(self, place: Path, cut_at: int) -> None:
        self.state = place / "state"
        (self.state / "bundles").mkdir(parents=True)
        shutil.copy(folder() / f"context-{NEW}.edgeward", self.state / "bundles")
        self.prng, self.fuse, self.broker, self.seconds = Random(7), Fuse(), Broker(Random(7)), 0.0  # noqa: S311
        self.boundaries, self.cut_at, self.deaths = 0, cut_at, 0
        self.loop = self._start()

    def _start(self) -> Loop:
        settings = Settings(
            device=DEVICE,
            state_dir=str(self.state),
            log=LogSettings(level="error"),
            timezone="UTC",
            bundles=(str(zoo_path("context")),),
            allow_unsigned=True,
        )
        outside = Outside(
            store=self._open,
            link=lambda _b, _d, _w, wall, _wake: SimLink(self.broker, self.prng, self.fuse, wall),
            wall_ms=lambda: 1_800_000_000_000 + int(self.seconds * 1_000),
            monotonic_s=lambda: self.seconds,
        )
        loop = Loop(settings, LOADED, outside)
        loop.say = lambda *_: None
        self.store.fuse = self.fuse
        return loop

    def _open(self, path: Path, mib_max: int) -> SimStore:
        self.store = SimStore(path, mib_max)
        return self.store

    def turn(self) -> None:
        """Once round, a second later; where the fuse burns down, the process dies and another starts."""
        self.seconds += 1.0
        counting = self.cut_at < 0
        self.fuse.left = 10**9 if counting else self.cut_at - self.boundaries
        before = self.fuse.left
        try:
            self.loop.turn()
        except Cut:
            self.broker.line_gone()
            self.loop.errands.children.stop(0.0)
            self.store._connection.close()
            self.store._reserve.close()
            self.loop._vigil.close()
            self.fuse.left = -1
            self.cut_at, self.deaths = 10**9, self.deaths + 1
            self.loop = self._start()
            return
        self.boundaries += before - self.fuse.left

    def live(self) -> None:
        """Readings one by one, the wish in between, until the trial is over and all is decided."""
        for number in range(EVENTS):
            if number == 5:
                wish.leave(self.state, BundleAsked(name="context", version=NEW, to="shadow"))
            payload = msgspec.json.encode({"id": str(number), **READING, "light": 400.0 + number})
            self.broker.take(
                Message(topic=f"bench/{DEVICE}/in", payload=payload, content_type=JSON, qos=1, arrived_ms=1)
            )
            self.turn()
        for _ in range(TURNS_MAX):
            if len(self.decided()) == EVENTS and not self.broker.queue and not self.broker.open:
                break
            self.turn()
        self.turn()

    def decided(self) -> dict[str, str]:
        """Decision id → the version that decided, of all that reached the broker; one id never has two forms."""
        found: dict[str, tuple[str, bytes]] = {}
        for row in self.broker.received:
            if "/decision/" in row[1]:
                made = msgspec.msgpack.decode(row[2], type=DecisionMade)
                known = found.setdefault(made.id, (made.bundles["context"], row[2]))
                assert known[1] == row[2], "a decision has two forms"
        return {identity: version for identity, (version, _) in found.items()}

    def stored(self, key: str) -> bytes | None:
        return self.store.recall("meta", key)

    def end(self) -> None:
        self.loop.close()


def lived(place: Path, cut_at: int) -> Life:
    life = Life(place, cut_at)
    life.live()
    life.end()
    return life


def check(life: Life, serves: str) -> None:
    assert len(life.decided()) == EVENTS, "every reading is decided once"
    assert life.loop.shelf.active["context"].version == serves
    assert life.loop.shelf.trials == {}
    assert not life.loop.agent.trials.running


@pytest.mark.parametrize(("faulty", "serves"), [(False, NEW), (True, OLD)])
@pytest.mark.parametrize("parts", [24, pytest.param(0, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)])])
def test_a_rollout_cut_at_any_boundary_ends_as_the_uncut_one(
    faulty: bool, serves: str, parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if faulty:
        monkeypatch.setattr(run, "BundleShelf", FaultyShelf)
    whole = lived(tmp_path / "whole", -1)
    check(whole, serves)
    assert {*whole.decided().values()} == ({OLD, NEW} if not faulty else {OLD})
    total = whole.boundaries
    assert total > 200
    chosen = range(total) if not parts else range(1, total, total // parts)
    for cut_at in chosen:
        life = lived(tmp_path / str(cut_at), cut_at)
        check(life, serves)
        assert life.deaths == 1
        shutil.rmtree(tmp_path / str(cut_at))
