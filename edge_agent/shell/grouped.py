"""What this device tells of the groups of a model: sums of its own examples and decisions, for a secret sum alone.

The shape of the sums is the profile's. A server that asks for another one, would read fewer devices than `k_min`, or
lets them have less noise than the profile wants, is refused.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.decide import decision
from edge_agent.decide.decision import Trail
from edge_agent.errors import RoundRefused
from edge_agent.infer.bundle import load_model
from edge_agent.memory.segments import Segments
from edge_agent.shell import asked as words
from edge_agent.shell.counting import groups_of
from edge_agent.shell.database import beside
from firmware_configs.subgroups import Shape
from models import subgroups

if TYPE_CHECKING:
    from edge_agent.shell.lessons import Lessons
    from edge_agent.shell.pipe import LearnTask
    from models.secure_sum.noise import Noise

F64 = NDArray[np.float64]
STATISTIC = "subgroups"
"""Value of a message's `statistic`."""
BY_MODEL = frozenset({"", "standing", "cached"})
"""Fallbacks of decisions in which a model had a say."""


def vector_of(task: "LearnTask", lessons: "Lessons", asked: Mapping[str, Any], noise: "Noise | None") -> F64:
    """The device's sums, float64 (shape.size,), of the norm that profile and server allow.

    Args:
        asked: the server's words.
        noise: on the sum, as the server states it and this device adds its share of.
    Raises:
        RoundRefused: another bundle or shape, or less noise than the profile wants.
    """
    grouping, shape = words.read(asked, STATISTIC, Shape)
    words.check_version(task, grouping)
    if task.shape is None or shape != task.shape:
        raise RoundRefused(
            "these groups and placements are not the ones that the profile here declares",
            hint="edge-coordinator bias with the profile that this device runs",
        )
    words.check_noise(task, noise)
    segments = Segments([one for one in task.segments if one.name in shape.segments])
    at = {name: n for n, name in enumerate(shape.groups)}
    quality = _quality(task, lessons, shape, segments, at)
    shown = [
        (trail.placement, trail.items[0], trail.fallback in BY_MODEL, at[_group(trail, segments)])
        for trail in _trails(task, shape)
        if trail.items
    ]
    norm = min(grouping.clip_norm, task.clip_norm)
    return subgroups.bounded(quality, subgroups.exposure(shown, shape), norm)


def _quality(task: "LearnTask", lessons: "Lessons", shape: Shape, segments: Segments, at: Mapping[str, int]) -> F64:
    model = load_model(Path(task.path))
    total = np.zeros(shape.quality_size)
    for subject, rows in sorted(lessons.rows.items()):
        feeds = {**rows.features, **lessons.personal[subject]}
        if rows.item is not None:
            feeds[model.candidate] = rows.item  # type: ignore[assignment]
        group = np.array([at[one] for one in groups_of(rows, segments)], np.int64)
        scores = model.predict(feeds)
        total += subgroups.quality(scores, rows.label, group, shape, model.spec.task, model.spec.calibration)
    return total


def _group(trail: Trail, segments: Segments) -> str:
    return segments.of({"features": trail.features}, lambda _model: "")


def _trails(task: "LearnTask", shape: Shape) -> Iterator[Trail]:
    """The newest decisions at the placements about those who agreed; at most as many of each as examples are kept."""
    ask = "SELECT value FROM shelf WHERE shelf = 'decision' AND grp = ? AND subject = ? ORDER BY number DESC LIMIT ?"
    with beside(Path(task.database), "the decisions") as database:
        for place in shape.places:
            for subject in task.subjects:
                for (value,) in database.execute(ask, (place.name, subject, task.examples_max)):
                    with suppress(msgspec.MsgspecError):  # another version may have written it
                        yield decision.unpack(value)
