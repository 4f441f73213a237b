"""Which version of each bundle is wanted, serves, is on trial, or is not taken again; what the shell is asked for.

A version that gave way is not taken again until the coordinator has wanted another one in between, or an operator asks
for it: a wish that is repeated after a restart would else bring it back for ever.
"""

from collections.abc import Callable
from typing import Literal, assert_never

import msgspec

from edge_agent.batch import Batch
from edge_agent.doors import Doors
from edge_agent.effects import Fetch, Log, Switch
from edge_agent.errors import VersionForbidden
from edge_agent.happenings import BundleAsked, BundleFailed, BundleReady, BundleStaged, BundleWithdrawn
from edge_agent.trials import Trial, Trials
from firmware_configs.messages import BundleState, Desired, Sums
from firmware_configs.profile import Model, Profile

REFUSED_MAX = 16
"""Versions of one bundle that are remembered as not to be taken again; then the oldest are forgotten."""

News = BundleReady | BundleStaged | BundleWithdrawn | BundleFailed | BundleAsked
Refused = dict[str, str]
"""Version → why it gave way."""


class Bundles:
    """The bundles of one device.

    Attributes:
        wanted: what the coordinator wants: bundle's name → version.
    """

    def __init__(self, profile: Profile, doors: Doors, trials: Trials, count: Callable[[str], None]) -> None:
        self.wanted: dict[str, str] = {}
        self._models: dict[str, Model] = {model.name: model for model in profile.model}
        self._doors, self._trials, self._count = doors, trials, count
        self._states: dict[str, BundleState] = {}
        self._previous: dict[str, str] = {}
        self._refused: dict[str, Refused] = {}

    def restore(self, key: str, value: bytes) -> None:
        """Take up a row of the room `meta` again."""
        kind, _, name = key.partition(":")
        if kind == "previous":
            self._previous[name] = value.decode()
        elif kind == "refused":
            self._refused[name] = msgspec.msgpack.decode(value, type=Refused)
        elif kind == "trial":
            self._trials.restore(name, value)

    def pursue(self, desired: Desired, batch: Batch, *, may_begin: bool = True) -> None:
        """Ask for what the coordinator wants and does not run here.

        Args:
            may_begin: a maintenance window is open. Going back to the version before never waits for one.
        """
        before, self.wanted = self.wanted, desired.bundles
        watched = self._trials.watched
        self._trials.watch(desired.watch)
        for name, version in desired.bundles.items():
            if before.get(name, version) != version and version in self._refused.get(name, {}):
                self._accept(name, version, batch)
            if self._doors.models.get(name) is not None and self._doors.models[name].version == version:
                self._states.pop(name, None)
                self._call_off(name, "the coordinator wants the version that serves", batch)
                continue
            if self._is_on_trial(name, version):
                if name in watched and name not in desired.watch:
                    # What few decisions here would take weeks to tell, the whole fleet's have told.
                    batch.effects.append(Switch(name=name, version=version, to="full"))
                continue
            if self._goes_back(name, version, batch):
                continue
            if (why := self._forbidden(name, version)) is not None:
                self._states[name] = BundleState(version=version, state="failed", reason=f"{why.code} {why.what}")
                batch.effects.append(Log(level="warning", code=why.code, text=f"{why.what}; fix: {why.hint}"))
                continue
            if (reason := self._refused.get(name, {}).get(version)) is not None:
                self._states[name] = BundleState(version=version, state="returned", reason=reason)
                continue
            if not may_begin:
                self._states[name] = BundleState(version=version, state="waiting", reason="for a maintenance window")
                continue
            held = self._states.get(name)
            if held is not None and held.version == version and held.state == "fetching":
                continue  # it was asked for when something else was
            self._states[name] = BundleState(version=version, state="fetching")
            start = desired.rollout or self._trials.limits(name).start
            batch.effects.append(Fetch(name=name, version=version, registry=desired.registry, to=start))

    @property
    def waiting(self) -> bool:
        """Whether something waits for a maintenance window."""
        return any(state.state == "waiting" for state in self._states.values())

    def _is_on_trial(self, name: str, version: str) -> bool:
        trial = self._trials.running.get(name)
        return trial is not None and trial.version == version and trial.stage != "full"

    def _goes_back(self, name: str, version: str, batch: Batch) -> bool:
        """The version that served before lies here and was verified: going back to it needs no network, no trial."""
        active = self._doors.models.get(name)
        known = self._previous.get(name) == version and version not in self._refused.get(name, {})
        if active is None or not known or self._forbidden(name, version) is not None:
            return False
        reason = f"the coordinator went back to {version}"
        batch.effects.append(Switch(name=name, version=version, to="full", reason=reason))
        return True

    def _call_off(self, name: str, reason: str, batch: Batch) -> None:
        trial = self._trials.running.get(name)
        if trial is not None and trial.stage != "full":
            batch.effects.append(Switch(name=name, version=trial.version, to="out", reason=reason))

    def _forbidden(self, name: str, version: str) -> VersionForbidden | None:
        model = self._models.get(name)
        if model is None:
            return VersionForbidden(f"the profile has no model `{name}`", hint="add a [[model]] to the profile")
        # Only the one device in a while that is told to change a bundle pays for this import.
        from packaging.specifiers import SpecifierSet
        from packaging.version import InvalidVersion

        try:
            allowed = SpecifierSet(model.versions).contains(version, prereleases=True)
        except InvalidVersion:
            allowed = False
        if not allowed:
            hint = "widen `versions` in the profile, or deploy another version"
            return VersionForbidden(f"`{name}` {version} is not within `{model.versions}`", hint=hint)
        return None

    def hear(self, news: News, batch: Batch) -> bool:
        """Take in what the shell or an operator says; True when the models that may serve changed."""
        match news:
            case BundleReady():
                self._ready(news, batch)
            case BundleStaged(name=name, version=version, stage=stage):
                self._states.pop(name, None)
                active = self._doors.models.get(name)
                self._trials.begin(name, version, active.version if active is not None else "", stage, batch)
                self._count(f"swap.{stage}")
            case BundleWithdrawn(name=name, version=version, reason=reason):
                self._trials.end(name, batch)
                self._refuse(name, version, reason, batch)
            case BundleFailed():
                self._failed(news, batch)
                return False
            case BundleAsked():
                self._asked(news, batch)
                return False
            case _:
                assert_never(news)
        return True

    def _ready(self, ready: BundleReady, batch: Batch) -> None:
        name, version = ready.name, ready.version
        batch.put("meta", f"bundle:{name}", version.encode())
        if not ready.base:
            # Loaded at start: a trial that a restart cut off goes on.
            self._trials.answered(name)
            self._states.pop(name, None)
            return
        if ready.reason:
            self._trials.end(name, batch)
            self._previous.pop(name, None)
            batch.drop("meta", f"previous:{name}")
            self._refuse(name, ready.base, ready.reason, batch)
            return
        self._states.pop(name, None)
        self._previous[name] = ready.base
        batch.put("meta", f"previous:{name}", ready.base.encode())
        self._trials.begin(name, version, ready.base, "full", batch)
        self._count("swap.full")

    def _failed(self, failed: BundleFailed, batch: Batch) -> None:
        name, trial = failed.name, self._trials.running.get(failed.name)
        self._states[name] = BundleState(
            version=failed.version, state="failed", reason=f"{failed.code} {failed.reason}"
        )
        self._count("bundle.failed")
        if self._previous.get(name) == failed.version:
            del self._previous[name]  # it does not lie here any more: the next wish for it is fetched
            batch.drop("meta", f"previous:{name}")
        if trial is not None and failed.version in {trial.version, trial.base}:
            self._trials.end(name, batch)  # there is nothing to go on to, or back to

    def _refuse(self, name: str, version: str, reason: str, batch: Batch) -> None:
        refused = self._refused.setdefault(name, {})
        refused.pop(version, None)
        refused[version] = reason
        while len(refused) > REFUSED_MAX:
            del refused[next(iter(refused))]
        batch.put("meta", f"refused:{name}", msgspec.msgpack.encode(refused))
        self._states[name] = BundleState(version=version, state="returned", reason=reason)
        self._count("swap.returned")

    def _accept(self, name: str, version: str, batch: Batch) -> None:
        refused = self._refused.get(name, {})
        if refused.pop(version, None) is not None:
            batch.put("meta", f"refused:{name}", msgspec.msgpack.encode(refused))

    def _asked(self, asked: BundleAsked, batch: Batch) -> None:
        """An operator's word: it counts for more than the coordinator's standing wish."""
        name, active = asked.name, self._doors.models.get(asked.name)
        serves = active.version if active is not None else ""
        trial = self._trials.running.get(name)
        if asked.leaving and asked.leaving not in {serves, trial.version if trial is not None else serves}:
            self._say("info", "bundles", f"{name} {asked.leaving} is not in use, nothing to do", batch)
            return
        if not asked.version or asked.version == serves:
            if trial is not None and trial.stage != "full":
                self._call_off(name, "an operator of this device gave it up", batch)
            elif not asked.version and name in self._previous:
                reason = "an operator of this device went back"
                batch.effects.append(Switch(name=name, version=self._previous[name], to="full", reason=reason))
            else:
                self._say("info", "bundles", f"{name}: {serves or 'nothing'} serves already, nothing to do", batch)
            return
        if (why := self._forbidden(name, asked.version)) is not None:
            self._say("warning", why.code, f"{why.what}; fix: {why.hint}", batch)
            return
        self._accept(name, asked.version, batch)
        wanted = self.wanted.get(name, asked.version)
        if wanted != asked.version and asked.to == "full":
            self._refuse(name, wanted, f"an operator of this device chose {asked.version}", batch)
        batch.effects.append(Switch(name=name, version=asked.version, to=asked.to))

    @staticmethod
    def _say(level: Literal["info", "warning"], code: str, text: str, batch: Batch) -> None:
        batch.effects.append(Log(level=level, code=code, text=text))

    def settle(self, batch: Batch) -> bool:
        """The end of a step: what was counted is stored, what follows is asked for; True when a trial ended."""
        return bool(self._trials.settle(batch))

    def states(self) -> dict[str, BundleState]:
        """For the report: what serves, or what is under way or went wrong beside it."""
        found: dict[str, BundleState] = {}
        for name, model in self._doors.models.items():
            trial = self._trials.running.get(name)
            told = trial if trial is not None and trial.stage == "full" else None
            figures = told.figures() if told is not None else {}
            found[name] = BundleState(
                version=model.version, state="active", figures=figures, sums=self._sums(name, told)
            )
        for name, state in self._states.items():
            serving = found[name].version if name in found else ""
            found[name] = msgspec.structs.replace(state, serving=serving if serving != state.version else "")
        for name, trial in self._trials.running.items():
            if trial.stage != "full":
                found[name] = BundleState(
                    version=trial.version,
                    state=trial.stage,
                    serving=trial.base,
                    figures=trial.figures(),
                    sums=self._sums(name, trial),
                )
        return found

    def _sums(self, name: str, trial: Trial | None) -> Sums | None:
        return trial.sums() if trial is not None and name in self._trials.watched else None
