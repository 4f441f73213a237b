"""Moments: spells are what they say, and the model finds a rhythm that is there."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import tflite
from models.build import Options, build_bundle
from models.bundle import Bundle, open_bundle
from models.check import check_bundle
from models.datasets import Rating
from models.errors import DatasetInvalid
from models.session import TrainStep
from models.zoo import moment, spells

HOUR_S = 3_600


def events(user: str, *hours: float) -> list[Rating]:
    return [Rating(user=user, item="i", rating=1.0, time=hour * HOUR_S) for hour in hours]


def test_a_spell_runs_from_one_sitting_to_the_next() -> None:
    """Two events within half an hour are one sitting; three and a half hours later comes the next."""
    found = spells.of_ratings([*events("a", 10.0, 10.4, 14.0), *events("b", 40.0)])
    mine = found.of(found.person == 0)
    assert mine.label[:4].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert not mine.label[4:].any()  # the last spell ends with the file
    assert mine.hour[:4].tolist() == [10, 11, 12, 13]
    assert mine.features[:4, 4].tolist() == [0.0, HOUR_S, 2 * HOUR_S, 3 * HOUR_S]
    assert mine.features[:4, 5].tolist() == [2.0, 2.0, 2.0, 2.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 100_000), min_size=2, max_size=25, unique=True))
def test_every_return_within_the_horizon_is_one_label(minutes: list[int]) -> None:
    times = np.sort(np.array(minutes)) * 60.0
    rows = [Rating(user="a", item="i", rating=1.0, time=float(t)) for t in times]
    gaps = np.diff(times)
    returns = int(((gaps > spells.SITTING_S) & (gaps <= spells.HORIZON_H * HOUR_S)).sum())
    assert spells.of_ratings(rows).label.sum() == returns


def rhythmic(path: Path, people: int = 60, days: int = 25) -> Path:
    """A known truth: everybody acts around 20 h on most days, and at no other time."""
    dice = np.random.default_rng(2)
    lines = []
    for person in range(people):
        active = np.flatnonzero(dice.random(days) < 0.8)
        lines += [f"p{person},i,1,{day * 86_400 + 20 * HOUR_S + int(dice.integers(0, 2_400))}" for day in active]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, dict[str, float]]:
    folder = tmp_path_factory.mktemp("moment")
    made = build_bundle("moment", Options(ratings=rhythmic(folder / "rhythm.csv")), folder, "edge-models build moment")
    return open_bundle(made.path), {figure.name: figure.value for figure in made.figures}


def test_a_rhythm_that_is_there_is_found(built: tuple[Bundle, dict[str, float]]) -> None:
    _, figures = built
    assert figures["gain_over_constant_hazard"] > 0.05
    assert figures["gain_over_time_since"] > 0.0
    assert figures["auc"] > 0.95


def test_a_moment_bundle_passes_on_both_backends(built: tuple[Bundle, dict[str, float]]) -> None:
    bundle, _ = built
    assert check_bundle(bundle.path) == []
    tflite.check(bundle)


def test_a_person_with_another_rhythm_is_learned_by_the_personal_part_alone(
    built: tuple[Bundle, dict[str, float]],
) -> None:
    """This person acts at 8, not at 20."""
    bundle, _ = built
    weights, step = bundle.weights(), TrainStep(bundle.read("train_step.onnx"))
    rows = [Rating(user="x", item="i", rating=1.0, time=day * 86_400 + 8 * HOUR_S + 600.0) for day in range(20)]
    mine = spells.of_ratings(rows)
    early = mine.hour == 8
    now, losses = dict(weights), []
    for _ in range(150):
        after, loss = step(now, {"features": mine.features}, mine.label, 0.2)
        now = {**after, **{name: weights[name] for name in weights if name not in moment.PERSONAL}}
        losses.append(loss)
    assert losses[-1] < losses[0]
    assert early.any()
    assert np.linalg.norm(now["rhythm"]) > 0.1


def test_nobody_who_comes_back_is_said(tmp_path: Path) -> None:
    path = tmp_path / "once.csv"
    path.write_text("".join(f"p{n},i,1,{n * 1_000}\n" for n in range(20)))
    with pytest.raises(DatasetInvalid, match="too few people come back"):
        moment.build(Options(ratings=path))


def test_without_interactions_the_command_that_takes_them_is_named() -> None:
    with pytest.raises(DatasetInvalid, match="edge-models build moment --ratings"):
        moment.build(Options())
