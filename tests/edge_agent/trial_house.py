"""A home whose bundles can be changed: real bundles in several versions on a real shelf, and faults on demand."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace

import msgspec
import numpy as np

from edge_agent.agent import Agent
from edge_agent.doors import Doors
from edge_agent.effects import Effect, Fetch, Switch
from edge_agent.happenings import Happening
from edge_agent.infer.model import F32, Array, LoadedModel
from edge_agent.shell.shelf import BundleShelf
from firmware_configs.messages import MSGPACK, Desired, Feedback, Reported, Topics
from firmware_configs.profile import Stage
from models.bundle import open_bundle, with_weights
from models.errors import FeedRefused
from tests.edge_agent.house import DEVICE, HOME, NOW, House, bundle
from tests.models.sample import zoo_path

SWAP = """{ shadow_decisions = 6, canary_share = 0.5, canary_decisions = 6, watched_decisions = 6, decisions_min = 4,
 error_max = 0.25 }""".replace("\n", "")
OWN = Topics(DEVICE)
Fault = Callable[[Mapping[str, Array]], None]


@cache
def folder() -> Path:
    """`affinity` and `context` 1.0.1 (other numbers, same shapes), made once."""
    made = Path(mkdtemp(prefix="edgeward-versions-"))
    for name in ("affinity", "context"):
        old = open_bundle(zoo_path(name))
        dice = np.random.default_rng(1)
        shared = {
            p.name: (old.weights()[p.name] + dice.normal(0, 0.05, p.shape)).astype(np.float32)
            for p in old.spec.of_share("shared")
        }
        with_weights(old, shared, "1.0.1", made, "made for a test")
    return made


class Shelf(BundleShelf):
    """A real shelf, whose models can be made to fail or to take time."""

    def __init__(self, settings: object, profile: object) -> None:
        super().__init__(settings, profile)  # type: ignore[arg-type]
        self.folder = folder()
        self.faults: dict[tuple[str, str], Fault] = {}

    def load(self, name: str, version: str) -> LoadedModel:
        model = bundle(name) if version == "1.0.0" else super().load(name, version)
        run = model.run

        def watched(feeds: Mapping[str, Array]) -> F32:
            if (name, version) in self.faults:
                self.faults[name, version](feeds)
            return run(feeds)

        return msgspec.structs.replace(model, run=watched)


def fails(_feeds: Mapping[str, Array]) -> None:
    """A fault: the runtime refuses."""
    raise FeedRefused("broken for a test", hint="nothing to do")


class TrialHouse(House):
    """A home that does what the agent asks of its shell about bundles. Nothing is fetched: files are here."""

    def __init__(self, swap: str = SWAP, *, home: str = HOME, record: bool = False, over_budget: bool = False) -> None:
        text = home.replace("examples_max = 5000\n", f"examples_max = 5000\nswap = {swap}\n")
        self.text, self.clock_s = text, 0.0
        self.pending: list[Happening] = []
        self.slow: set[str] = set()
        self.shelf = Shelf(SimpleNamespace(state_dir=str(folder())), _profile(text))
        super().__init__(text, models=(), record=record, over_budget=over_budget)
        self.shelf.faults[("context", "1.0.0")] = self.shelf.faults[("context", "1.0.1")] = lambda _f: None
        self.switch(*(Switch(name=name, version="1.0.0", to="full") for name in ("affinity", "context")))

    def _new(self) -> Agent:
        self._models = self.shelf.active
        doors = Doors(
            secret=b"s" * 32,
            recall=self._recall,
            models=self.shelf.active,
            over_budget=self._over_budget,
            local_hour=lambda _ms: (12, 1),
            trials=self.shelf.trials,
            clock=lambda: self.clock_s,
        )
        return Agent(self.loaded, DEVICE, doors, record=self._record)

    def takes(self, seconds: float) -> Fault:
        """A fault: a call takes its time."""

        def spend(_feeds: Mapping[str, Array]) -> None:
            self.clock_s += seconds

        return spend

    def switch(self, *asked: Switch) -> None:
        """What the shell does with the agent's wishes, and the agent's step that hears of it."""
        self.tell(*(self.shelf.switch(one) for one in asked))

    def tell(self, *happenings: Happening, commit: bool = True) -> list[Effect]:
        """One step after what the shell had to say; its own wishes are kept for the next."""
        news, self.pending = self.pending, []
        effects = super().tell(*news, *happenings, commit=commit)
        if commit:
            self.pending += [self.shelf.switch(e) for e in effects if isinstance(e, Switch)]
        return effects

    def restart(self) -> None:
        """The process dies: what was loaded is loaded again from what was committed."""
        self.shelf.active.clear()
        self.shelf.trials.clear()
        self.pending = []
        super().restart()
        self.pending = self.shelf.take_up(("affinity", "context"), self._recall)
        self.agent.models_changed()
        for _ in range(2):
            self.tell()  # turns before the broker is there: what was asked for is asked again, and answered

    def wish(self, name: str, version: str, rollout: Stage | None = None, revision: int = 0) -> None:
        """The coordinator's word, and the fetch that it leads to."""
        number = revision or len(self.effects) + 1
        word = Desired(revision=number, bundles={name: version}, registry="https://r", rollout=rollout or "")
        effects = self.tell(self.message(OWN.of("desired"), msgspec.msgpack.encode(word), content_type=MSGPACK))
        for fetch in [e for e in effects if isinstance(e, Fetch)]:
            self.switch(Switch(name=fetch.name, version=fetch.version, to=fetch.to))

    def read_room(self, count: int, start: int = 0) -> None:
        """So many readings, a second apart, each its own step."""
        for number in range(start, start + count):
            self.now += 1_000
            self.tell(self.reading(number, light=300.0 + 60 * (number % 7)))

    def feedback(self, decision: str, outcome: str) -> None:
        """What became of a decision."""
        word = Feedback(decision_id=decision, outcome=outcome)
        self.tell(self.message(OWN.of("feedback"), msgspec.msgpack.encode(word), content_type=MSGPACK))

    def reported(self) -> Reported:
        """The newest report."""
        packed = [sent.payload for sent in self.sent if sent.topic.endswith("/reported")][-1]
        return msgspec.msgpack.decode(packed, type=Reported)

    def stored(self, key: str) -> str:
        """A row of the room `meta` as text; empty: none."""
        return self.rows.get(("meta", key), (b"", 0))[0].decode()


def _profile(text: str) -> object:
    from firmware_configs.loader import parse

    return parse(text).profile


__all__ = ["NOW", "TrialHouse", "fails"]
