"""A house with an experiment on lights: many people, each decision about one of them."""

from collections.abc import Sequence

import msgspec

from edge_agent.happenings import Tick
from firmware_configs.messages import Desired, ExperimentReport, Shares, Topics
from tests.edge_agent.house import DEVICE, NOW, House

HOUR = 3_600_000
WINDOW = 24 * HOUR
PROFILE = """
schema = 1
name = "trial"
version = "1.0.0"
device = { class = "gateway", fleet = "homes" }
retention = { "user.behavior" = { days = 30.0 } }
[[source]]
name = "touch"
topic = "home/{device}/touch"
event_id = "id"
subject = "user"
field = [{ name = "item", type = "text", category = "user.behavior", purposes = ["try"] }]
[[purpose]]
name = "try"
legal_basis = "legitimate-interests"
consent = "CONSENT"
text = "We try which of two ways of choosing is the better one."
[[placement]]
name = "pick"
trigger = { kind = "event", source = "touch" }
purposes = ["try"]
candidate = [{ item = "tea", score = "0.6" }, { item = "milk", score = "0.5" }]
reward = [{ outcome = "click", value = 1.0 }, { outcome = "dismiss", value = 0.0 }]
[placement.experiment]
name = "order"
window_s = 86400.0
report_every_s = 3600.0
EXPERIMENT
[[egress]]
kind = "decision"
purposes = ["try"]
bytes_day_max = 100_000_000
[[egress]]
kind = "experiment"
purposes = ["try"]
bytes_day_max = 1_000_000
k_min = 3
PRIVACY
"""
ARMS = """
arms = [{ name = "plain" }, { name = "other", items = ["milk"], channel = "voice" }]
"""


def profile(experiment: str = ARMS, consent: str = "not-needed", privacy: str = "") -> str:
    """The profile as TOML."""
    return PROFILE.replace("EXPERIMENT", experiment).replace("CONSENT", consent).replace("PRIVACY", privacy)


class TrialHouse(House):
    """A house whose people touch things."""

    def __init__(self, text: str = "", *, record: bool = False) -> None:
        super().__init__(text or profile(), (), record=record)
        self.touched = 0

    def touch(self, person: str, *, times: int = 1, outcome: str = "", commit: bool = True) -> None:
        """Decide for a person, and say what became of it."""
        for _ in range(times):
            self.touched += 1
            event = {"id": f"e{self.touched}", "user": person, "item": "tea"}
            self.tell(self.message(f"home/{DEVICE}/touch", event), commit=commit)
            if outcome:
                made = self.decisions()[-1]
                word = {"decision_id": made.id, "outcome": outcome}
                self.tell(self.message(Topics(DEVICE).of("feedback"), word), commit=commit)

    def wait(self, hours: float) -> None:
        """Time passes, quietly."""
        self.now += int(hours * HOUR)
        self.tell(Tick())

    def want(self, number: int, shares: dict[str, float], plan: str = "") -> None:
        """The coordinator moves shares."""
        assert self.agent.experiments is not None
        plan = plan or self.agent.experiments.by_name["order"].plan
        word = Desired(revision=number, experiments={"order": Shares(plan=plan, number=number, shares=shares)})
        self.tell(self.message(Topics(DEVICE).of("desired"), msgspec.to_builtins(word)))

    def arm_of(self, person: str) -> str:
        """The arm in which the person would be now."""
        place = self.agent.placements["pick"].assignment
        assert place is not None
        return place.seat(person, self.now).arm

    def people_of(self, arm: str, count: int) -> Sequence[str]:
        """Names of people who come into an arm."""
        names = (f"u{n}" for n in range(10_000))
        return [name for name, _ in zip((n for n in names if self.arm_of(n) == arm), range(count), strict=False)]

    def reports(self) -> list[ExperimentReport]:
        """Every report that was sent."""
        return [
            msgspec.msgpack.decode(sent.payload, type=ExperimentReport)
            for sent in self.sent
            if "/experiment/" in sent.topic
        ]

    def tables(self) -> dict[int, list[list[float]]]:
        """What the device has summed up so far."""
        assert self.agent.experiments is not None
        return self.agent.experiments.by_name["order"].summary.tables


__all__ = ["HOUR", "NOW", "WINDOW", "TrialHouse", "profile"]
