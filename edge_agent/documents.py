"""Which profile and which experiments are wanted, run, or were refused; what the shell is asked for."""

from edge_agent.batch import Batch
from edge_agent.doors import Doors
from edge_agent.effects import Fetch
from edge_agent.happenings import DocumentFailed
from firmware_configs.messages import BundleState, Desired
from firmware_configs.targets import Kind

KINDS: tuple[Kind, ...] = ("profile", "experiment")


class Documents:
    """A profile takes over at a new start, which the shell sees to; until then the old one runs."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._states: dict[str, BundleState] = {}
        self._asked: dict[str, str] = {}
        self.waiting = False

    def pursue(self, desired: Desired, batch: Batch, *, may_begin: bool) -> None:
        """Ask for what is wanted and does not run; the profile first, for experiments are put into it."""
        self.waiting = False
        for kind in KINDS:
            wanted = desired.documents.get(kind, "")
            name, _, version = wanted.rpartition("-")
            if not wanted or self._doors.documents.get(kind) == wanted:
                self._states.pop(kind, None)
                self._asked.pop(kind, None)
                continue
            if (why := self._doors.given_up.get(wanted)) is not None:
                self._states[kind] = BundleState(version=version, state="returned", reason=why)
                continue
            if not may_begin:
                self.waiting = True
                self._states[kind] = BundleState(version=version, state="waiting", reason="for a maintenance window")
                continue
            if self._asked.get(kind) != wanted:
                self._asked[kind] = wanted
                self._states[kind] = BundleState(version=version, state="fetching")
                batch.effects.append(Fetch(kind=kind, name=name, version=version, registry=desired.registry))
            if self._states.get(kind) is None or self._states[kind].state == "fetching":
                return

    def failed(self, news: DocumentFailed) -> None:
        """What was asked for is not taken; it is asked for again when something else was wanted, or at a new start."""
        self._states[news.kind] = BundleState(version=news.version, state="failed", reason=f"{news.code} {news.reason}")

    def states(self) -> dict[str, BundleState]:
        """For the report: what runs, or what is under way or went wrong beside it."""
        found = {
            kind: BundleState(version=label.rpartition("-")[2], state="active")
            for kind, label in self._doors.documents.items()
        }
        return found | self._states
