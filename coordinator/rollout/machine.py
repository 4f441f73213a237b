"""The life of a rollout: everything that changes its state lives in this file.

planned → soaking (cohort by cohort) → done; from soaking and paused: halted → rolling-back → rolled-back. Paused asks
nobody and passes no cohort, but its guards go on looking.
"""

from collections.abc import Iterable, Sequence

from msgspec import structs

from coordinator.errors import RolloutStateInvalid
from coordinator.rollout import guards
from coordinator.rollout.members import Members
from coordinator.rollout.state import (
    ENDED,
    ENGINE,
    Finding,
    Member,
    Note,
    Observation,
    Order,
    Rollout,
    State,
    Step,
    Wish,
    at_risk,
)
from firmware_configs.messages import Watch

NEXT: dict[State, tuple[State, ...]] = {
    "planned": ("soaking", "rolled-back"),
    "soaking": ("paused", "halted", "rolling-back", "done"),
    "paused": ("soaking", "halted", "rolling-back"),
    "halted": ("rolling-back",),
    "rolling-back": ("rolled-back",),
    "rolled-back": (),
    "done": ("rolling-back",),
}
WISHED: dict[str, tuple[State, ...]] = {
    "start": ("planned",),
    "pause": ("soaking",),
    "resume": ("paused",),
    "promote": ("soaking",),
    "rollback": ("planned", "soaking", "paused", "halted", "done"),
}
"""A person's wish → the states in which it can be had."""
UNSEEN_MS = 10_000
"""Of the time between two steps so much counts as watched at most, or two periods of reporting where that is longer."""

LOOK_GROWTH = 1.02
"""By how much the samples must have grown since the guards last looked: a look costs milliseconds, whoever is asked."""


def step(rollout: Rollout, observations: Iterable[Observation], now_ms: int) -> Step:
    """What becomes of a rollout by what was heard since the last step.

    Args:
        rollout: as the last step left it.
        observations: in the order in which they came; wishes that cannot be had are noted, and change nothing.
        now_ms: unix ms. It may jump: what counts is bounded, see `Rollout.watched_ms`.
    Returns:
        The next rollout, what devices are to be asked for, and what the audit log is told. The same arguments give the
        same result: whoever dies between computing and storing it computes it again.
    """
    return _Stepping(rollout, now_ms).step(observations)


def refusal(rollout: Rollout, wish: Wish) -> RolloutStateInvalid | None:
    """Why a wish cannot be had now; None: it can."""
    if rollout.state in WISHED[wish.kind]:
        return None
    able = [kind for kind, states in WISHED.items() if rollout.state in states]
    return RolloutStateInvalid(
        f"rollout {rollout.key} is {rollout.state}: nothing to {wish.kind}",
        hint=f"possible: {', '.join(able) or 'nothing, it has ended'}",
    )


class _Stepping:
    """One step while it is worked out; nothing of it is seen before it is whole."""

    def __init__(self, rollout: Rollout, now_ms: int) -> None:
        self.plan = rollout.plan
        self.now_ms = now_ms
        self.orders: list[Order] = []
        self.notes: list[Note] = []
        longest = max(UNSEEN_MS, int(2_000 * self.plan.report_every_s))
        passed = min(max(0, now_ms - rollout.now_ms), longest) if rollout.now_ms else 0
        self.rollout = structs.replace(rollout, watched_ms=rollout.watched_ms + passed, now_ms=now_ms)
        self.members = Members(self.rollout)

    def step(self, observations: Iterable[Observation]) -> Step:
        failed = []
        for one in observations:
            if isinstance(one, Wish):
                self._wished(one)
            elif (member := self.members.hear(one, self.rollout.state)) is not None:
                failed.append(member)
        failed += self.members.overdue()
        if failed:
            self._note("failed", why=failed[0].reason, devices=[member.device for member in failed])
        if silent := self.members.silent():
            self._note("silent", devices=[member.device for member in silent])
        self._look()
        if self.rollout.state in {"soaking", "paused"}:
            self.members.settle()
        if self.rollout.state == "soaking":
            self._go_on()
        if self.rollout.state == "rolling-back":
            self._come_back()
        return Step(rollout=self._whole(), orders=tuple(self.orders), notes=tuple(self.notes))

    def _whole(self) -> Rollout:
        held = self.members
        return structs.replace(
            self.rollout,
            members=held.members,
            pools=held.pools,
            cohort_decisions=held.cohort_decisions,
            cohort_rewards=held.cohort_rewards,
        )

    def _note(
        self,
        what: str,
        *,
        who: str = ENGINE,
        why: str = "",
        devices: Sequence[str] = (),
        evidence: dict[str, float] | None = None,
    ) -> None:
        self.notes.append(
            Note(at_ms=self.now_ms, who=who, what=what, why=why, devices=tuple(devices), evidence=evidence or {})
        )

    def _become(self, state: State) -> None:
        if state not in NEXT[self.rollout.state]:
            raise RolloutStateInvalid(
                f"rollout {self.rollout.key} is {self.rollout.state} and cannot become {state}",
                hint=f"possible: {', '.join(NEXT[self.rollout.state]) or 'nothing, it has ended'}",
            )
        self.rollout = structs.replace(self.rollout, state=state)

    def _wished(self, wish: Wish) -> None:
        if (why := refusal(self.rollout, wish)) is not None:
            self._note(f"{wish.kind} refused", who=wish.who, why=why.what)
            return
        self._note(wish.kind, who=wish.who, why=wish.reason)
        match wish.kind:
            case "start":
                self._become("soaking")
                self._open(0)
            case "pause":
                self._become("paused")
            case "resume":
                self._become("soaking")
            case "promote":
                self._pass_on(f"{wish.who} promoted it")
            case "rollback":
                self._roll_back(wish.reason or f"{wish.who} asked for it")

    def _open(self, cohort: int) -> None:
        """The turn of a cohort; one that is empty is passed at once."""
        while cohort < len(self.plan.cohort) and not self.members.of_cohort(cohort):
            self._note(f"{self.plan.named(cohort)} is empty")
            cohort += 1
        if cohort == len(self.plan.cohort):
            self._finish()
            return
        self.rollout = structs.replace(self.rollout, cohort=cohort, soaking_ms=-1)
        self.members.open(cohort)
        named = self.plan.named(cohort)
        self._note(f"{named} opens", why=f"{len(self.members.of_cohort(cohort))} devices")

    def _finish(self) -> None:
        """Everybody present has it and nothing spoke against it: the rest may have it when they come, unwatched."""
        self._become("done")
        late = [member for member in self.members.members.values() if member.state == "waiting"]
        self.members.change(late, "settled")
        for member in self.members.members.values():
            if member.state in {"asked", "trying", "settled"}:
                self._order(member, self.plan.version, watched=False)
        self._note(
            "done",
            why=f"{len(late)} devices that were away take it when they come back" if late else "",
            devices=[member.device for member in late],
        )

    def _order(self, member: Member, version: str, *, watched: bool) -> None:
        back = version != self.plan.version
        watch = Watch(every_s=self.plan.report_every_s) if watched else None
        start = "full" if back else self.plan.start
        self.orders.append(Order(device=member.device, version=version, rollout=start, watch=watch))

    def _look(self) -> None:
        """Let the guards look, where there is something new, and halt where one says so."""
        if self.rollout.state not in {"soaking", "paused"}:
            return
        first = self._devices()
        samples = self.members.pools.samples
        if samples > self.rollout.looked * LOOK_GROWTH or self.rollout.looked < 0:
            others = tuple(guards.statistical(self.plan, self.members.pools))
            self.rollout = structs.replace(self.rollout, looked=samples, findings=(first, *others))
        elif not self.rollout.findings or first != self.rollout.findings[0]:
            self.rollout = structs.replace(self.rollout, findings=(first, *self.rollout.findings[1:]))
        breached = next((finding for finding in self.rollout.findings if finding.breached), None)
        if breached is not None:
            self._halt(breached)

    def _devices(self) -> Finding:
        """Of this cohort, and of all together: an earlier one may fail late."""
        asked = [member for member in self.members.members.values() if member.state != "waiting"]
        own = [member for member in asked if member.cohort == self.rollout.cohort]
        first = guards.devices(self.plan, own, self.plan.named(self.rollout.cohort))
        every = guards.devices(self.plan, asked, "all cohorts so far")
        return every if every.breached and not first.breached else first

    def _halt(self, finding: Finding) -> None:
        self._become("halted")
        self.rollout = structs.replace(self.rollout, reason=f"{finding.guard}: {finding.text}")
        holders = [member.device for member in at_risk(self._whole())]
        self._note(f"halted by the guard {finding.guard}", why=finding.text, devices=holders, evidence=finding.evidence)
        if self.plan.on_breach == "rollback":
            self._roll_back(f"the guard {finding.guard} was breached")

    def _roll_back(self, why: str) -> None:
        """Everybody who was asked goes back; nobody is left out because it is away: what is wanted is retained."""
        if self.rollout.state == "planned":
            self._become("rolled-back")
            return
        self._become("rolling-back")
        if not self.rollout.reason:
            self.rollout = structs.replace(self.rollout, reason=why)
        holders = [member for member in self.members.members.values() if member.state != "waiting"]
        self.members.change(holders, "returning")
        for member in holders:
            self._order(member, member.before, watched=False)
        self._note("rolling back", why=why, devices=[member.device for member in holders])

    def _come_back(self) -> None:
        """The rollback is over when everybody who is present runs what it ran before."""
        returning = [member for member in self.members.members.values() if member.state == "returning"]
        away = [member for member in returning if self.members.is_away(member)]
        if len(away) < len(returning):
            return
        self._become("rolled-back")
        told = f"{len(away)} devices are away; they go back when they return" if away else "everybody went back"
        self._note("rolled back", why=told, devices=[member.device for member in away])

    def _go_on(self) -> None:
        """Ask those whose turn it is, and pass the cohort when it has given what the plan waits for."""
        self._ask()
        lacking = self.members.lacking(self.rollout)
        if self.rollout.soaking_ms < 0 and not lacking:
            self.rollout = structs.replace(self.rollout, soaking_ms=self.rollout.watched_ms)
            named = self.plan.named(self.rollout.cohort)
            self._note(f"{named} soaks", why=f"for {self.plan.cohort[self.rollout.cohort].soak_s:g} s at least")
        if not missing(self._whole()):
            self._pass_on("soaked, with the evidence that the plan asks for")

    def _pass_on(self, why: str) -> None:
        evidence: dict[str, float] = {}
        for finding in self.rollout.findings:
            evidence |= {f"{finding.guard}.{name}": value for name, value in finding.evidence.items()}
        self._note(f"{self.plan.named(self.rollout.cohort)} passed", why=why, evidence=evidence)
        # Who settled slowly has had its time: what is at risk from now on is the next cohort.
        self.members.pass_on(self.rollout.cohort)
        self._open(self.rollout.cohort + 1)
        if self.rollout.state == "soaking":
            self._ask()

    def _ask(self) -> None:
        """Ask those of this cohort and of earlier ones who are there, never more than may be at risk."""
        room = self.plan.at_risk_max - len(at_risk(self._whole()))
        ready = self.members.ready(self.rollout.cohort)[: max(0, room)]
        for member in ready:
            self._order(member, self.plan.version, watched=True)
        if ready:
            self.members.change(ready, "asked")
            asked = [member.device for member in ready]
            self._note(f"asked {len(asked)} of {self.plan.named(self.rollout.cohort)}", devices=asked)


def missing(rollout: Rollout) -> list[str]:
    """What the cohort still waits for before it passes, in words; empty: nothing."""
    cohort, found = rollout.plan.cohort[rollout.cohort], Members(rollout).lacking(rollout)
    if rollout.soaking_ms < 0:
        return found or ["the soak to begin"]
    soaked_s = (rollout.watched_ms - rollout.soaking_ms) / 1_000
    if soaked_s < cohort.soak_s:
        found.append(f"soak: {soaked_s:.0f} of {cohort.soak_s:g} s watched")
    if rollout.cohort_decisions < cohort.decisions_min:
        found.append(f"decisions: {rollout.cohort_decisions} of {cohort.decisions_min}")
    if rollout.cohort_rewards < cohort.rewards_min:
        found.append(f"rewards: {rollout.cohort_rewards} of {cohort.rewards_min}")
    found += [f"certainty: {finding.text}" for finding in rollout.findings if not finding.passed]
    if rollout.plan.guard.reward is not None and rollout.plan.guard.reward.margin_max < 1.0 and not rollout.findings:
        found.append("certainty: no guard has looked yet")
    return found


def ended(rollout: Rollout) -> bool:
    """Whether nothing will happen any more unless a person wishes it."""
    return rollout.state in ENDED
