"""Plans and small fleets for the tests of rollouts."""

from collections.abc import Iterable

from coordinator.rollout.beginning import begin
from coordinator.rollout.machine import step
from coordinator.rollout.plan import Plan, parse
from coordinator.rollout.state import Heard, Observation, Order, Rollout, Step, Wish
from firmware_configs.messages import BundleState, Sums, Tally

OLD, NEW = "1.0.0", "1.1.0"
TEXT = """
schema = 1
bundle = "context"
version = "1.1.0"
start = "canary"
key = "test"
at_risk_max = 5
settled_decisions = 10
report_every_s = 10.0

[[cohort]]
name = "first"
share = 0.25
soak_s = 60.0
decisions_min = 30

[[cohort]]
name = "everyone"
share = 1.0
soak_s = 60.0

[guard.devices]
failed_max = 0.0
silent_max = 0.2
silent_after_s = 60.0

[guard.errors]
share_max = 0.05

[guard.latency]
ratio_max = 1.5

[guard.reward]
drop_max = 0.05
"""


def plan(text: str = TEXT, **changes: str) -> Plan:
    """The plan, with some of its values written otherwise."""
    for old, new in changes.items():
        before = next(line for line in text.splitlines() if line.startswith(f"{old} = "))
        text = text.replace(before, f"{old} = {new}")
    return parse(text)


def fleet(count: int = 12) -> list[str]:
    return [f"device-{number}" for number in range(count)]


def planned(made: Plan | None = None, count: int = 12) -> Rollout:
    devices = fleet(count)
    return begin("r", made or plan(), dict.fromkeys(devices, ()), dict.fromkeys(devices, OLD), "https://r", 1)


def there(devices: Iterable[str]) -> list[Observation]:
    """Each says that it runs the old version."""
    return [Heard(device=device, bundle=BundleState(version=OLD, state="active")) for device in devices]


def tally(decisions: int, *, reward: float = 0.5, errors: int = 0, bucket: int = 20) -> Tally:
    rewards = decisions
    earned = float(round(reward * rewards))
    return Tally(
        decisions=decisions,
        errors=errors,
        calls={bucket: decisions - errors} if decisions > errors else {},
        rewards=rewards,
        reward=earned,
        squares=earned,
    )


def tried(device: str, new: Tally, old: Tally, state: str = "canary") -> Heard:
    """A report of a device that tries the new version."""
    return Heard(
        device=device,
        bundle=BundleState(version=NEW, state=state, serving=OLD, sums=Sums(new=new, old=old)),  # type: ignore[arg-type]
    )


class Drive:
    """A rollout that is stepped by hand: `at_s` is the coordinator's clock."""

    def __init__(self, rollout: Rollout | None = None) -> None:
        self.rollout = rollout or planned()
        self.at_s = 1_000.0
        self.orders: list[Order] = []
        self.notes: list[str] = []
        self.says(*there(self.rollout.members), Wish(kind="start", who="ann"))

    def says(self, *observations: Observation, after_s: float = 0.0) -> Step:
        self.at_s += after_s
        made = step(self.rollout, observations, int(self.at_s * 1_000))
        self.rollout = made.rollout
        self.orders += made.orders
        self.notes += [note.what for note in made.notes]
        return made

    @property
    def asked(self) -> list[str]:
        return [member.device for member in self.rollout.members.values() if member.state != "waiting"]

    def everyone_does_well(self, turns: int, every_s: float = 10.0, decisions: int = 20) -> None:
        """Devices that were asked try the version, report, and go back when they are told to."""
        for _ in range(turns):
            words: list[Observation] = []
            for member in self.rollout.members.values():
                if member.state in {"asked", "trying", "settled"}:
                    made = member.decisions + decisions
                    words.append(tried(member.device, tally(made), tally(made)))
                elif member.state == "returning":
                    words += there([member.device])
            self.says(*words, after_s=every_s)
