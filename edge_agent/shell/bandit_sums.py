"""A round in which a placement's policy tells what it has seen, as sums that are added up over devices.

What leaves is this device's own rewards alone: what a bundle brought as a beginning is taken off again, and sums on a
scale of the device's own are brought to the scale that is asked for. The rewards of everybody here are in one sum, so
it leaves only where everybody whom the device knows agrees.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from edge_agent.decide.bandit.by_features import ARM, ByFeatures
from edge_agent.decide.bandit.by_item import ByItem
from edge_agent.decide.bandit.counts import Counts
from edge_agent.decide.bandit.forgetting import Forgetting
from edge_agent.decide.bandit.learner import learner_of
from edge_agent.errors import RoundRefused
from edge_agent.exploring import LINEAR, Columns
from edge_agent.infer.bundle import load_model
from edge_agent.infer.model import LoadedModel
from edge_agent.learn import budget
from edge_agent.shell.counting import check_minimum
from edge_agent.shell.database import beside
from firmware_configs.stated import Stated, unpack
from models import bandit_sums
from models.bandit_sums import Form, Kind
from models.errors import SpecInvalid
from models.ridge import Statistics, rescaled

if TYPE_CHECKING:
    from edge_agent.shell.pipe import Learns, LearnTask
    from models.secure_sum.noise import Noise

F64 = NDArray[np.float64]
BANDIT = "bandit"
"""Value of a message's `statistic`."""
_SUBJECTS = """
SELECT DISTINCT subject FROM shelf WHERE shelf = 'decision' AND grp = ? AND subject != ''
UNION SELECT key FROM state WHERE room = 'consent'
"""


class Summing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server asks for."""

    statistic: str
    bundle: str
    version: str
    placement: str
    kind: Kind
    minimum: Annotated[int, Meta(ge=1)]
    """Devices that are added up before anybody reads the result, by the server's word."""
    clip_norm: Annotated[float, Meta(ge=0.0)] = 0.0
    """L2 norm of the sums; 0: they are not clipped."""
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    """The scale of regressions, one number a feature column."""
    privacy: Annotated[str, Meta(max_length=2_000)] = ""
    """`firmware_configs.stated.Stated` in JSON; empty: the round states none."""

    def stated(self) -> Stated | None:
        """What the server states of privacy."""
        return unpack(self.privacy)


def read_summing(task: "LearnTask", plan: Mapping[str, Any], noise: "Noise | None" = None) -> Summing:
    """What is asked for, once it is acceptable.

    Args:
        noise: on the sum, as the server states it and this device adds its share of; None: none.
    Raises:
        RoundRefused: another bundle, too few devices to hide among, a scale that is none, or too little privacy.
    """
    if not task.statistic:
        raise RoundRefused("the offer was of another kind of round", hint="start a new run")
    try:
        asked = msgspec.convert(dict(plan), Summing, strict=False)
        stated = asked.stated()
    except msgspec.MsgspecError as error:
        raise RoundRefused(f"the sums asked for are not acceptable: {error}", hint="use one version") from None
    if asked.statistic != BANDIT or (asked.bundle, asked.version) != (task.bundle, task.version):
        raise RoundRefused(f"asked for {asked.statistic} of {asked.bundle} {asked.version}", hint="start a new run")
    check_minimum(asked.minimum, task.k_min)
    scale = np.array([*asked.mean, *asked.deviation])
    if len(asked.mean) != len(asked.deviation) or not np.isfinite(scale).all() or min(asked.deviation, default=0.0) < 0:
        raise RoundRefused("the scale asked for is none", hint="one mean and one deviation of 0 or more a column")
    if task.noise_multiplier and (noise is None or noise.multiplier < task.noise_multiplier):
        has = f"{noise.multiplier:g}" if noise is not None else "none of the devices"
        raise RoundRefused(
            f"the sum's noise is {has}, this profile wants {task.noise_multiplier:g}",
            hint="edge-coordinator bandit merge --secret-sum --epsilon-max, with --noise as the profile says",
        )
    budget.check(stated, task.epsilon_max, task.delta, task.population)
    return asked


def sums_of(task: "LearnTask", asked: Summing) -> F64:
    """The vector that `models.bandit_sums` describes, clipped as the round and the profile say.

    Raises:
        RoundRefused: the placement is not there, or its policy does not learn so, or has learned nothing yet; or
            somebody here has not agreed.
        StoreUnavailable: the database cannot be read.
        ModelError: the bundle is damaged.
    """
    place = next((one for one in task.placements if one.name == asked.placement), None)
    if place is None or place.models != (task.bundle,):
        raise RoundRefused(
            f"no placement `{asked.placement}` decides here with {task.bundle} alone",
            hint="name a [[placement]] of the devices' profile whose models are this bundle",
        )
    kind: Kind = "regressions" if isinstance(place.policy, LINEAR) else "rewards"
    if kind != asked.kind:
        raise RoundRefused(
            f"`{place.name}` learns {kind} here, {asked.kind} are asked for", hint="ask devices of one profile"
        )
    model = load_model(Path(task.path))
    try:
        form = bandit_sums.form_of(kind, model.spec, len(model.catalogue))
        with beside(Path(task.database), "what was learned") as database:
            _refuse_without_everybody(database, task, place)
            vector = _vector(database, place, model, form, asked)
        if not vector.any():
            # It would count as one of those among whom the others hide.
            raise RoundRefused(f"nothing was rewarded at `{place.name}` yet", hint="wait for feedback")
    except SpecInvalid as error:
        raise RoundRefused(error.what, hint=error.hint) from None
    return bandit_sums.clipped(vector, min(asked.clip_norm or np.inf, task.clip_norm))


def sums_told(task: "LearnTask", asked: Summing) -> str:
    """What the ledger says of it."""
    norm = min(asked.clip_norm or np.inf, task.clip_norm)
    clip = f"clip {norm:g}" if np.isfinite(norm) else "not clipped"
    stated = asked.stated()
    return f"sums of {asked.placement}'s {asked.kind}, {clip}; {stated.told() if stated else 'no noise, no epsilon'}"


def _refuse_without_everybody(database: sqlite3.Connection, task: "LearnTask", place: "Learns") -> None:
    known = {subject for (subject,) in database.execute(_SUBJECTS, (place.name,))}
    if missing := len(known - set(task.subjects)):
        raise RoundRefused(
            f"{missing} of {len(known)} people here have not agreed, and the sums are of everybody",
            hint="nothing to do; once everybody agrees, the next run counts",
        )


def _vector(database: sqlite3.Connection, place: "Learns", model: LoadedModel, form: Form, asked: Summing) -> F64:
    recall = _recall(database, place.name)
    if form.kind == "rewards":
        counts = _counts(place, model, recall)
        at = {item: row for row, item in enumerate(model.catalogue)}
        return bandit_sums.rewards(form, ((at[item], *counts.own(item)) for item in counts.items if item in at))
    columns = Columns([model.spec])
    learner = learner_of(place.policy, columns.width, recall, model.warm_start, columns.signature)
    if not isinstance(learner, ByFeatures) or learner.shared:
        raise RoundRefused(
            f"the items of `{place.name}` share one regression, which is not added up", hint="shared = false"
        )
    scale = (np.array(asked.mean), np.array(asked.deviation))
    if len(scale[0]) != columns.width:
        raise RoundRefused(f"a scale of {len(scale[0])} columns, here are {columns.width}", hint="use one version")
    return bandit_sums.regressions(form, _regressions(database, place, model, learner, scale))


def _counts(place: "Learns", model: LoadedModel, recall: Callable[[str], bytes | None]) -> Counts:
    learner = learner_of(place.policy, 0, recall, model.warm_start)
    # A policy that chooses by scores counts all the same, for a policy that comes later.
    return learner.counts if isinstance(learner, ByItem) else Counts(Forgetting(), recall)


def _regressions(
    database: sqlite3.Connection, place: "Learns", model: LoadedModel, learner: ByFeatures, scale: tuple[F64, F64]
) -> Iterator[tuple[int, Statistics]]:
    """(row of the catalogue, what was seen here) of each item that was ever rewarded; row 0 without a catalogue."""
    prefix = place.name + ARM
    within = "SELECT key FROM state WHERE room = 'bandit' AND key > ? AND key < ?"
    found = database.execute(within, (prefix, prefix + chr(0x10FFFF)))
    own, at = (learner.scale.mean, learner.scale.deviation), {item: row for row, item in enumerate(model.catalogue)}
    for (key,) in found.fetchall():
        item = key.removeprefix(prefix)
        if at and item not in at:
            continue
        yield at.get(item, 0), rescaled(learner.arms.statistics(item, learner.clock), own, scale)


def _recall(database: sqlite3.Connection, placement: str) -> Callable[[str], bytes | None]:
    def recall(part: str) -> bytes | None:
        row = database.execute(
            "SELECT value FROM state WHERE room = 'bandit' AND key = ?", (placement + part,)
        ).fetchone()
        return row[0] if row is not None else None

    return recall
