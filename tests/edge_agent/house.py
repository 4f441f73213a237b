"""A home in memory: a real agent on real bundles, and a store that is a dict. Faults are a method away."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.agent import Agent, step
from edge_agent.doors import Doors
from edge_agent.effects import Append, Drop, Effect, Erase, Put, Send
from edge_agent.happenings import BundleReady, Happening, Message
from edge_agent.infer.bundle import load_model
from edge_agent.infer.model import LoadedModel
from firmware_configs.loader import Loaded, load, parse
from firmware_configs.messages import JSON, Consent, DecisionMade, Topics

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "firmware_configs" / "profiles"
HOME = (PROFILES / "home-gateway.toml").read_text()
NOW = 1_800_000_000_000
DEVICE = "home-1"
PERSON = "u1"
RESTORED = ("consent", "dedupe", "due", "identity", "ledger", "meta", "watermark")


@cache
def bundle(name: str) -> LoadedModel:
    """A shipped bundle."""
    path = max((ROOT / "models" / "zoo" / "bundles").glob(f"{name}-*.edgeward"))
    return load_model(path)


class House:
    """One device: state that survives `restart`, and everything that it ever sent."""

    def __init__(
        self,
        text: str = HOME,
        models: tuple[str | LoadedModel, ...] = ("affinity", "context"),
        *,
        record: bool = False,
        over_budget: bool = False,
    ) -> None:
        self.loaded: Loaded = parse(text)
        self.now = NOW
        self.settled: int | None = None
        """The time to delete by, when it is not `now`."""
        self.rows: dict[tuple[str, str], tuple[bytes, int]] = {}
        self.shelves: dict[tuple[str, str], Append] = {}
        self.sent: list[Send] = []
        self.effects: list[Effect] = []
        loaded = [bundle(one) if isinstance(one, str) else one for one in models]
        self._models = {one.name: one for one in loaded}
        self._record = record
        self._asked: set[str] = set()
        self._over = over_budget
        self.agent = self._new()
        self.tell(*(BundleReady(name=m.name, version=m.version) for m in self._models.values()))

    def _new(self) -> Agent:
        doors = Doors(
            secret=b"s" * 32,
            recall=self._recall,
            models=self._models,
            over_budget=self._over_budget,
            local_hour=lambda _ms: (12, 1),
        )
        return Agent(self.loaded, DEVICE, doors, record=self._record)

    def _recall(self, where: str, key: str) -> bytes | None:
        if (where, key) in self.shelves:
            return self.shelves[where, key].value
        held = self.rows.get((where, key))
        return held[0] if held else None

    def _over_budget(self, decision: str, _budget_ms: float) -> bool:
        first = decision not in self._asked
        self._asked.add(decision)
        return self._over and not first

    def tell(self, *happenings: Happening, commit: bool = True) -> list[Effect]:
        """One step; with `commit=False` power fails before the transaction."""
        effects = step(self.agent, happenings, self.now, self.settled)
        if commit:
            self.commit(effects)
        return effects

    def commit(self, effects: list[Effect]) -> None:
        """What the shell's transaction would write, and what would be published."""
        self.effects += effects
        for effect in effects:
            match effect:
                case Put():
                    self.rows[effect.room, effect.key] = (effect.value, effect.expires_ms)
                case Drop():
                    self.rows.pop((effect.room, effect.key), None)
                case Erase():
                    gone = (effect.shelf, effect.group, effect.subject)
                    held = self.shelves.items()
                    self.shelves = {k: row for k, row in held if (row.shelf, row.group, row.subject) != gone}
                case Append():
                    self.shelves.setdefault((effect.shelf, effect.id), effect)
                case Send():
                    self.sent.append(effect)

    def restart(self) -> None:
        """The process dies and comes back with what was committed."""
        self.agent = self._new()
        rows = [
            (room, key, value, expires)
            for (room, key), (value, expires) in sorted(self.rows.items())
            if room in RESTORED
        ]
        self.agent.restore(rows, self.now)  # type: ignore[arg-type]
        self.agent.models_changed()

    def message(self, topic: str, payload: bytes | Mapping[str, Any], **more: Any) -> Message:
        """A message as the broker would bring it."""
        if not isinstance(payload, bytes):
            payload, more = msgspec.json.encode(payload), {"content_type": JSON, **more}
        return Message(topic=topic, payload=payload, arrived_ms=self.now, **more)

    def consent(self, subject: str, *purposes: str, granted: bool = True) -> None:
        """A person's word, now."""
        word = Consent(purposes=dict.fromkeys(purposes, granted), time_ms=self.now)
        self.tell(self.message(Topics(DEVICE).of("consent", subject), msgspec.to_builtins(word)))

    def everyone_agrees(self) -> "House":
        """Nobody minds anything."""
        self.consent(PERSON, "personalise", "improve-models")
        self.consent("household", "comfort")
        return self

    def pick(self, number: int, item: str | None = None, **more: Any) -> Message:
        """An interaction of the person."""
        item = item if item is not None else bundle("affinity").catalogue[number % 30]
        event = {"id": f"i{number}", "user": PERSON, "item": item, "time": self.now / 1_000, **more}
        return self.message(f"home/{DEVICE}/interaction", event)

    def reading(self, number: int, light: float = 420.0, **more: Any) -> Message:
        """The room's air."""
        air = {"temperature": 21.0, "humidity": 30.0, "light": light, "co2": 800.0}
        return self.message(f"home/{DEVICE}/room", {"id": f"r{number}", "time": self.now / 1_000, **air, **more})

    def decisions(self) -> list[DecisionMade]:
        """Every decision that was published, in order."""
        return [
            msgspec.msgpack.decode(sent.payload, type=DecisionMade)
            for sent in self.sent
            if "/decision/" in sent.topic or sent.topic.startswith("reply")
        ]


def profile(name: str) -> Loaded:
    """A shipped profile."""
    return load(PROFILES / f"{name}.toml")
