"""A round in which no update leaves: how often which score met which outcome on this device, by declared group.

The device scores its own examples with the version that runs here, counts, and sends the counts past the ledger as an
egress of kind `statistic`. It refuses groups that its profile does not declare, and a server that would read fewer
devices than k_min together.
"""

from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from edge_agent.errors import RoundRefused
from edge_agent.infer.bundle import load_model
from edge_agent.memory.segments import OTHER, Segments
from models.score_counts import counted

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.learn.trainer import Rows
    from edge_agent.shell.fleet import Ask
    from edge_agent.shell.lessons import Lessons
    from edge_agent.shell.pipe import LearnTask

I64 = NDArray[np.int64]
STATISTIC = "statistic"
"""Key of a counting round in a message's configuration."""


class Counting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server asks for."""

    statistic: str
    bundle: str
    version: str
    groups: Annotated[tuple[str, ...], Meta(max_length=16)]
    """Segments of the profile; who is in none of them is in `other`."""
    minimum: Annotated[int, Meta(ge=1)]
    """Devices that are added up before anybody reads the result, by the server's word."""


def check_minimum(minimum: int, wanted: int) -> None:
    """Raises:
    RoundRefused: fewer devices would be read together than the profile wants.
    """
    if minimum < wanted:
        raise RoundRefused(
            f"counts of {minimum} devices would be read, this profile wants {wanted} added up",
            hint="a larger --minimum-reports",
        )


def table_of(task: "LearnTask", lessons: "Lessons", ask: "Ask", path: "Path") -> I64:
    """The counts, int64 (groups + 1, BINS, 2), end to end; the last group is `other`.

    Raises:
        RoundRefused: another bundle, an undeclared group, or too few devices to hide among.
    """
    if task.secret:
        raise RoundRefused("this profile lets counts out only as part of a secret sum", hint="edge-coordinator bias")
    try:
        asked = msgspec.convert(dict(ask.plan), Counting, strict=False)
    except msgspec.ValidationError as error:
        raise RoundRefused(f"the counts asked for are not acceptable: {error}", hint="use one version") from None
    if asked.statistic != "scores" or (asked.bundle, asked.version) != (task.bundle, task.version):
        raise RoundRefused(f"asked for {asked.statistic} of {asked.bundle} {asked.version}", hint="start a new run")
    if task.noise_multiplier > 0.0 or task.epsilon_max is not None:
        raise RoundRefused(
            "this profile lets statistics out with noise or a budget of privacy, and counts have neither",
            hint="ask for bandit sums with --secret-sum or --epsilon-max, or change the egress of kind statistic",
        )
    check_minimum(asked.minimum, task.k_min)
    declared = {segment.name for segment in task.segments if segment.when}
    if strangers := sorted(set(asked.groups) - declared):
        raise RoundRefused(f"groups {strangers} are not declared here", hint="name [[segment]]s with `when`")
    segments = Segments([one for one in task.segments if one.name in asked.groups])
    at = {name: n for n, name in enumerate((*asked.groups, OTHER))}
    model = load_model(path)
    total = np.zeros(0, np.int64)
    for subject, rows in sorted(lessons.rows.items()):
        feeds = {**rows.features, **lessons.personal[subject]}
        if rows.item is not None:
            feeds[model.candidate] = rows.item  # type: ignore[assignment]
        group = np.array([at[one] for one in groups_of(rows, segments)], np.int64)
        table = counted(model.predict(feeds), rows.label, group, len(at), model.spec.task).reshape(-1)
        total = table if not len(total) else total + table
    return total


def groups_of(rows: "Rows", segments: Segments) -> list[str]:
    """Each example's group, by the features that were served."""
    made = []
    for n in range(len(rows.label)):
        features = {name: values[n].tolist() for name, values in rows.features.items()}
        made.append(segments.of({"features": features}, lambda _model: ""))
    return made
