"""The devices of a rollout while a step is worked out: what each says, and who may be asked."""

import math
from collections.abc import Iterable

from msgspec import structs

from coordinator.rollout.guards import band_of
from coordinator.rollout.pools import since, with_more
from coordinator.rollout.state import Heard, Member, MemberState, Presence, Rollout, State
from firmware_configs.messages import BundleState, Sums

HELD: frozenset[MemberState] = frozenset({"asked", "trying", "settled"})
"""States in which silence says something of the version."""


class Members:
    """A working copy; `members` and `pools` are what the next rollout holds."""

    def __init__(self, rollout: Rollout) -> None:
        self._plan, self._now = rollout.plan, rollout.watched_ms
        self._silent_ms = int(1_000 * rollout.plan.guard.devices.silent_after_s)
        self._fetch_ms = int(1_000 * rollout.plan.guard.devices.fetch_max_s)
        self.members = dict(rollout.members)
        self.pools = rollout.pools
        self.cohort = rollout.cohort
        self.cohort_decisions = rollout.cohort_decisions
        self.cohort_rewards = rollout.cohort_rewards

    def of_cohort(self, cohort: int) -> list[Member]:
        """Its own devices, without those of earlier cohorts, in the order of the draw."""
        return [member for member in self.members.values() if member.cohort == cohort]

    def change(self, members: Iterable[Member], state: MemberState) -> None:
        """Put them in another state."""
        for member in members:
            asked = self._now if state in {"asked", "returning"} else member.asked_ms
            self.members[member.device] = structs.replace(
                self.members[member.device], state=state, asked_ms=asked, silent=False
            )

    def open(self, cohort: int) -> None:
        """A cohort's turn begins: its evidence is counted from nothing."""
        self.cohort, self.cohort_decisions, self.cohort_rewards = cohort, 0, 0

    def pass_on(self, cohort: int) -> None:
        """A cohort is passed: those that run the version have settled with it."""
        running = [m for m in self.members.values() if m.cohort <= cohort and m.state == "trying"]
        self.change(running, "settled")

    def is_away(self, member: Member) -> bool:
        """Whether it is not there: its last will came, or nothing for as long as silence takes."""
        return not member.online or self._is_quiet(member)

    def _is_quiet(self, member: Member) -> bool:
        since_ms = max(member.heard_ms, member.asked_ms)
        return member.heard_ms < 0 or self._now - since_ms > self._silent_ms

    def ready(self, cohort: int) -> list[Member]:
        """Who waits, is there, and belongs to the cohort or an earlier one."""
        return [
            member
            for member in self.members.values()
            if member.cohort <= cohort and member.state == "waiting" and member.online and member.heard_ms >= 0
        ]

    def lacking(self, rollout: Rollout) -> list[str]:
        """What must come before the cohort may soak, in words."""
        present = [m for m in self.of_cohort(rollout.cohort) if m.state != "waiting" or (m.online and m.heard_ms >= 0)]
        running = sum(member.state in {"trying", "settled"} and not member.silent for member in present)
        wanted = max(1, math.ceil(rollout.plan.cohort[rollout.cohort].reporting_min * len(present)))
        return [] if running >= wanted else [f"devices that run it: {running} of {wanted}"]

    def silent(self) -> list[Member]:
        """Mark those who have just gone silent with the version, and return them."""
        found = []
        for member in list(self.members.values()):
            if member.state in HELD and not member.silent and self._now - _last(member) > self._patience(member):
                self.members[member.device] = structs.replace(member, silent=True)
                found.append(member)
        return found

    def _patience(self, member: Member) -> int:
        """How long it may say nothing, ms. Who went offline before it had the version may be offline for any reason."""
        has_it = member.state != "asked" or member.online
        return self._silent_ms if has_it else max(self._silent_ms, self._fetch_ms)

    def overdue(self) -> list[Member]:
        """Those that are there and do not run it after so long have failed; returns them."""
        found = []
        for member in list(self.members.values()):
            late = self._now - member.asked_ms > self._fetch_ms
            if member.state == "asked" and member.stage != "waiting" and member.online and late:
                took = f"it did not run within {self._fetch_ms / 1_000:g} s"
                failed = structs.replace(member, state="failed", reason=": ".join(filter(None, (took, member.reason))))
                self.members[member.device] = failed
                found.append(failed)
        return found

    def settle(self) -> None:
        """Those that have run it for as long as their cohort soaks have settled, however little they decide."""
        for member in list(self.members.values()):
            if member.state == "trying" and not member.silent:
                soak_ms = 1_000 * self._plan.cohort[member.cohort].soak_s
                if self._now - member.asked_ms > soak_ms:
                    self.members[member.device] = structs.replace(member, state="settled")

    def hear(self, word: Heard | Presence, state: State) -> Member | None:
        """Take in what a device says; returns it where it has just failed."""
        member = self.members.get(word.device)
        if member is None:
            return None
        if isinstance(word, Presence):
            # A status says that it is there, not that the version works: silence is about reports.
            heard = self._now if word.fresh and word.online else max(member.heard_ms, 0 if word.online else -1)
            counts = member.state not in HELD
            self.members[word.device] = structs.replace(
                member, online=word.online, heard_ms=heard if counts else member.heard_ms
            )
            return None
        member = structs.replace(
            member,
            online=member.online or word.fresh,
            heard_ms=self._now if word.fresh else max(member.heard_ms, 0),
            silent=member.silent and not word.fresh,
        )
        told = word.bundle
        after = member if told is None else self._told(member, told, state)
        self.members[word.device] = after
        return after if after.state == "failed" and member.state != "failed" else None

    def _told(self, member: Member, told: BundleState, state: State) -> Member:
        version = self._plan.version
        if member.state == "returning":
            serves = told.serving or (told.version if told.state == "active" else "")
            back = serves == member.before and told.state not in {"shadow", "canary"}
            return structs.replace(member, state="returned") if back else member
        if member.state in {"waiting", "returned"} or told.version != version or state in {"planned", "rolled-back"}:
            if member.state == "waiting" and (serving := _serving(told)) and serving != version:
                return structs.replace(member, before=serving)
            return member
        if told.interrupted or told.state in {"fetching", "waiting"}:
            # The device tries again by itself: nothing is said of the version yet.
            stage = "waiting" if told.state == "waiting" else "fetching"
            return structs.replace(member, stage=stage, reason=told.reason) if member.state == "asked" else member
        if told.state in {"failed", "returned"}:
            return structs.replace(member, state="failed", reason=told.reason or told.state)
        if member.state == "failed":
            return member
        stage = told.state if told.state != "active" else "full"
        if told.sums is not None:
            member = self._count(member, told.sums, stage)
        settled = member.decisions >= self._plan.settled_decisions and stage != "shadow"
        kept = stage == "full" and told.sums is None  # its trial is over, or there was none
        running: MemberState = "settled" if settled or kept or member.state == "settled" else "trying"
        return structs.replace(member, stage=stage, state=running, reason="")

    def _count(self, member: Member, sums: Sums, stage: str) -> Member:
        more = since(sums, member.sums, same_stage=stage == member.stage)
        passed_s = (self._now - member.sums_ms) / 1_000
        load = member.load
        if member.sums is not None and passed_s > 0.0:
            both = more.new.decisions + (more.old.decisions if stage != "shadow" else 0)
            load = both / passed_s
        self.pools = with_more(self.pools, more, band_of(self._plan, load), member.groups)
        if member.cohort == self.cohort:
            self.cohort_decisions += more.new.decisions
            self.cohort_rewards += more.new.rewards
        return structs.replace(
            member, decisions=member.decisions + more.new.decisions, load=load, sums=sums, sums_ms=self._now
        )


def _last(member: Member) -> int:
    return max(member.heard_ms, member.asked_ms)


def _serving(told: BundleState) -> str:
    """What serves on the device now; empty: nothing, or it does not say."""
    if told.state == "active":
        return told.version
    return told.serving
