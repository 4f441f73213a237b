"""Simulated rounds: the state table, selection, vetting, combination and accounting of real ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coordinator import aggregate, cohort, quarantine, rounds
from coordinator.aggregate import Report
from coordinator.errors import AggregationFailed
from coordinator.quarantine import Standing
from coordinator.rounds import Round
from coordinator.simulation.devices import Devices
from coordinator.simulation.fleet import Fleet
from coordinator.simulation.plan import Plan, Rounds
from coordinator.strategies.combine import Occasion, combine, shaped, take
from coordinator.strategies.settings import chosen
from firmware_configs.messages import Desired
from firmware_configs.virtual import Exercise, Reply
from models import flat
from models.bundle import Bundle
from models.spec import Train

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
FACTS_BYTES = 128
RUN = "simulated"
DEAF = 86_400.0
"""Seconds that no answer takes."""


class Told(Struct, frozen=True, kw_only=True):
    """One round, and what only a simulation can tell of it."""

    row: Round
    hour: float
    """Since the start."""
    online: int
    dropped: int
    """Asked, and never answered."""
    left_out: int
    """Reports that did not fit."""
    quarantined: int
    """Devices that are not asked any more, after it."""
    attackers_asked: int
    attackers_used: int
    """Whose report has a part in the result."""
    answer_s: tuple[float, ...] = ()
    """When the first, the median, the 90th of 100 and the last report came, seconds after the round opened."""
    refusals: dict[str, int] = {}
    """Why devices did not take part: a code of theirs, or the state that they report."""


class Teaching:
    """The rounds of a bundle, one after the other."""

    def __init__(
        self, plan: Plan, asked: Rounds, fleet: Fleet, devices: Devices, bundle: Bundle, train: Train, seed: int
    ) -> None:
        """Set up.

        Args:
            asked: the plan's rounds.
            train: how the bundle is trained where the plan says nothing.
        """
        self._plan, self._asked, self._fleet, self._devices, self._seed = plan, asked, fleet, devices, seed
        self._train = train
        self.strategy = chosen(self._asked.strategy, self._asked.options)
        self.done: list[Told] = []
        self.state: dict[str, NDArray[np.floating[Any]]] = {}
        self._standing: dict[int, Standing] = {}
        self._direction: F64 | None = None
        self.take_up(bundle)

    def take_up(self, bundle: Bundle) -> None:
        """Go on from another version."""
        weights = bundle.weights()
        self.bundle, self.parameters = bundle, bundle.spec.of_share("shared")
        self.shared: dict[str, F32] = {p.name: weights[p.name] for p in self.parameters}

    def round(self, number: int, at_ms: int, hour: float, desired: Callable[[int, str], bytes]) -> Told:
        """Live through one round.

        Args:
            number: from 1.
            hour: since the start.
            desired: (device, run) → what it is told.
        """
        row = Round(run=RUN, number=number)
        there = self._fleet.online(int(hour))
        quarantined = [device for device, one in self._standing.items() if one.quarantined]
        may = there.copy()
        may[quarantined] = False
        asked = self._ask(np.flatnonzero(may).tolist(), number)
        row = rounds.advance(msgspec.structs.replace(row, asked=len(asked), unfit=len(quarantined)), "open")
        if len(asked) < self._asked.minimum_reports:
            why = f"{len(asked)} nodes are online, {self._asked.minimum_reports} reports are needed"
            return self._keep(rounds.abandon(row, why), hour, int(there.sum()), asked, {}, [], [], 0, len(asked))
        drops = self._fleet.drops_out(number)
        present = [device for device in asked if not drops[device]]
        plan = self._message(number)
        size = 4 * flat.size_of(self.parameters)
        replies = self._devices.exercise(
            Exercise(
                devices=tuple(present),
                until_ms=at_ms,
                desired=tuple(desired(device, f"{RUN}-{number}") for device in present),
                plan=plan,
                shared=flat.join(self.parameters, self.shared).astype("<f4").tobytes(),
                attackers=tuple(device for device in present if self._fleet.attacks[device]),
            )
        )
        came = sorted((self._answer_s(number, reply, size), reply.device, reply) for reply in replies)
        usable = [one for one in came if not one[2].refused]
        in_time = [one for one in usable if one[0] <= self._asked.deadline_s]
        if self._asked.wanted and self._plan.privacy is None:
            in_time = in_time[: self._asked.wanted]
        reports, left_out = self._vetted([one[2] for one in in_time], number)
        refusals: dict[str, int] = {}
        for reply in replies:
            if reply.refused:
                refusals[reply.refused] = refusals.get(reply.refused, 0) + 1
        row = msgspec.structs.replace(
            rounds.advance(row, "closing"),
            reports=len(reports),
            refused=sum(refusals.values()) + left_out,
            late=len(usable) - len(in_time),
            bytes_up=sum(len(reply.delta) + FACTS_BYTES for *_, reply in usable),
            bytes_down=len(present) * size,
            seconds=min(self._asked.deadline_s, in_time[-1][0] if in_time else self._asked.deadline_s),
        )
        row = self._combined(row, reports, number)
        return self._keep(row, hour, int(there.sum()), asked, refusals, in_time, reports, left_out, len(present))

    def _ask(self, nodes: list[int], number: int) -> list[int]:
        dice = self._fleet.cohort_dice(number)
        if self._plan.privacy is not None:
            return cohort.sample(nodes, self.rate, dice)
        return cohort.select(nodes, self._asked.wanted, self._asked.over_selection, dice)

    @property
    def rate(self) -> float:
        """With which a private round asks a device."""
        return min(1.0, self._asked.wanted / self._fleet.devices)

    def _message(self, number: int) -> dict[str, object]:
        train = self._train
        prox = self.strategy["prox_mu"] if self.strategy.preset.device == "prox" else 0.0
        return {
            "bundle": self.bundle.spec.name,
            "version": self.bundle.spec.version,
            "names": [parameter.name for parameter in self.parameters],
            "round": 1,
            "rounds": 1,
            "epochs": self._asked.epochs or train.epochs,
            "lr": self._asked.lr or train.lr,
            "batch": train.batch,
            "negatives": train.negatives,
            "clip_norm": self._asked.clip_norm,
            "prox_mu": prox,
            "seed": (self._seed * 100_003 + number) % 2**31,
        }

    def _answer_s(self, number: int, reply: Reply, size: int) -> float:
        if reply.refused:
            return DEAF
        return self._fleet.answer_s(number, reply.device, size, len(reply.delta) + FACTS_BYTES, reply.steps)

    def _vetted(self, replies: Sequence[Reply], number: int) -> tuple[list[Report], int]:
        """The reports that count, as a real round checks and bounds them, and how many do not."""
        reports: list[Report] = []
        for reply in replies:
            arrays: Mapping[str, NDArray[np.generic]] = {"delta": np.frombuffer(reply.delta, np.int8)}
            try:
                report = aggregate.checked(arrays, reply.facts, self.parameters)
            except AggregationFailed:
                continue
            reports.append(msgspec.structs.replace(aggregate.bounded(report, self._asked.clip_norm), node=reply.device))
        if self._plan.privacy is not None or not self._asked.quarantine or not reports:
            return reports, len(replies) - len(reports)
        rows = aggregate.rows(self.shared, reports)
        claims = [quarantine.claim_of(report) for report in reports]
        found = quarantine.found(claims, rows, self._direction, self._asked.clip_norm, self._standing)
        keep = []
        for n, (claim, own) in enumerate(zip(claims, found, strict=True)):
            before = self._standing.get(claim.node, Standing())
            self._standing[claim.node] = after = quarantine.after(before, claim, own, RUN, number)
            if not quarantine.apart(own) and not after.quarantined:
                keep.append(n)
        if keep:
            self._direction = quarantine.direction_after(self._direction, rows[keep])
        return [reports[n] for n in keep], len(replies) - len(keep)

    def _combined(self, row: Round, reports: list[Report], number: int) -> Round:
        if len(reports) < self._asked.minimum_reports:
            return rounds.abandon(row, f"{len(reports)} usable reports, {self._asked.minimum_reports} are needed")
        occasion = Occasion(
            number=number,
            rounds=max(1, self._asked.version_every),
            lr=self._asked.lr or 1.0,
            devices=self._fleet.devices,
            seed=self._seed,
            rule=self._asked.rule,
            hostile_share=self._asked.hostile_share,
        )
        try:
            if self._plan.privacy is not None:
                expected = self.rate * self._fleet.devices
                total = aggregate.clipped_sum(aggregate.rows(self.shared, reports), self._asked.clip_norm)
                dice, noise = self._fleet.noise_dice(number), self._plan.privacy.noise_multiplier
                mean = aggregate.noised(total, self._asked.clip_norm, noise, expected, dice)
                tensors = shaped(self.shared, mean)
                self.shared, self.state = take(self.strategy, self.shared, tensors, expected, self.state, occasion)
            else:
                self.shared, self.state = combine(self.strategy, self.shared, reports, self.state, occasion)
        except AggregationFailed as error:
            return rounds.abandon(row, error.what)
        # A private round collects no losses; here they are known all the same, and say how it would have gone.
        before, after = aggregate.weighted(reports)
        row = msgspec.structs.replace(row, loss_before=before, loss_after=after)
        return rounds.advance(rounds.advance(row, "aggregated"), "accounted")

    def publish(self) -> None:
        """The accounted rounds are part of a version from now on."""
        self.done = [
            msgspec.structs.replace(one, row=rounds.advance(one.row, "published"))
            if one.row.state == "accounted"
            else one
            for one in self.done
        ]

    def _keep(
        self,
        row: Round,
        hour: float,
        online: int,
        asked: Sequence[int],
        refusals: dict[str, int],
        came: Sequence[tuple[float, int, Reply]],
        reports: Sequence[Report],
        left_out: int,
        present: int = 0,
    ) -> Told:
        seconds = [one[0] for one in came]
        quantiles = np.quantile(seconds, [0.0, 0.5, 0.9, 1.0], method="nearest").tolist() if seconds else []
        told = Told(
            row=row,
            hour=hour,
            online=online,
            dropped=len(asked) - present,
            left_out=left_out,
            quarantined=sum(one.quarantined for one in self._standing.values()),
            attackers_asked=int(self._fleet.attacks[list(asked)].sum()),
            attackers_used=int(self._fleet.attacks[[report.node for report in reports]].sum()) if reports else 0,
            answer_s=tuple(round(one, 3) for one in quantiles),
            refusals=dict(sorted(refusals.items())),
        )
        self.done.append(told)
        return told


def with_offer(desired: Desired, run: str, bundle: str, version: str, closes_ms: int) -> Desired:
    """The wish with a round's offer in it."""
    from firmware_configs.messages import RoundOffer

    offer = RoundOffer(run=run, bundle=bundle, version=version, superlink="virtual", app_hash="", closes_ms=closes_ms)
    return msgspec.structs.replace(desired, offer=offer)
