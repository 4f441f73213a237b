"""Rounds of counts: measures by group and a calibration from sums alone, on a real SuperLink with real learners."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import RoundStateInvalid
from coordinator.shell.evaluating import Asked, Evaluation, evaluate
from coordinator.shell.registry_store import Registry
from coordinator.shell.train import resume
from firmware_configs.errors import EdgeError
from firmware_configs.profile import Segment
from models import evaluate as measures
from models import score_counts
from models.bundle import open_bundle
from models.calibration import apply
from models.spec import Calibration
from tests.coordinator.fleet import REFUSAL, Coordinator, Device, Said, together

pytestmark = pytest.mark.usefixtures("place")
BRIGHT = Segment(name="bright", when="features.features[2] > 100.0")


@pytest.fixture(scope="module")
def devices(place: Coordinator, tmp_path_factory: pytest.TempPathFactory) -> list[Device]:
    made = [Device(f"told-{n}", tmp_path_factory.mktemp(f"told-{n}")) for n in range(3)]
    for n, device in enumerate(made):
        device.live_through(40 * (n + 1), seed=n)
    place.enrol(made)
    return made


def _round(
    place: Coordinator, devices: list[Device], asked: Asked, **task: object
) -> tuple[Evaluation | None, EdgeError | None, list[Said]]:
    own: dict[str, object] = {"segments": (BRIGHT,), "k_min": 3, **task}
    return together(place, devices, lambda: evaluate(place.home, asked, print), **own)


@pytest.mark.slow
def test_counts_of_devices_tell_the_measures_of_each_group_and_a_calibration(
    place: Coordinator, devices: list[Device]
) -> None:
    asked = Asked(bundle="context", by=("bright",), calibrate="isotonic", minimum_reports=3)
    told, failed, said = _round(place, devices, asked)
    assert failed is None
    assert told is not None
    assert told.devices == 3
    assert told.groups["all"].examples == 40 + 80 + 120
    assert told.groups["bright"].examples + told.groups["other"].examples == 240
    assert told.groups["bright"].rate == 1.0
    assert told.groups["other"].rate == 0.0
    # A model that is right already is not made much worse: isotonic steps need not fit the bins of the measure.
    assert told.calibrated["all"].ece <= told.groups["all"].ece + 0.01
    assert {ask.kind for one in said for ask in one.asked} == {"statistic"}
    assert all("3 devices or more" in ask.privacy for one in said for ask in one.asked)
    path = Registry.existing(place.home).find("context", told.published)
    assert path is not None
    made = open_bundle(path)
    assert made.spec.calibration.method == "isotonic"
    assert "| bright |" in made.read("card.md").decode()


@pytest.mark.slow
def test_a_device_refuses_to_be_read_among_fewer_than_its_profile_says_or_by_undeclared_groups(
    place: Coordinator, devices: list[Device]
) -> None:
    done, failed, said = _round(place, devices, Asked(bundle="context", minimum_reports=2))
    assert done is None
    assert "wants 3 added up" in str(failed)
    assert {(ask.kind, ask.privacy) for one in said for ask in one.asked} == {("statistic", REFUSAL)}
    done, failed, _ = _round(place, devices, Asked(bundle="context", by=("rich",), minimum_reports=3))
    assert done is None
    assert "not declared" in str(failed)
    with pytest.raises(RoundStateInvalid, match="counts"):
        resume(place.home, place.store.runs()[0].key, print)


def test_a_calibration_from_counts_halves_the_error_on_devices_it_never_saw() -> None:
    dice = np.random.default_rng(3)
    tables, held = [], []
    for device in range(40):
        z = dice.normal(0.3 * dice.normal(), 1.5, 200)
        label = (dice.random(200) < 1 / (1 + np.exp(-(0.4 * z - 1.0)))).astype(np.float32)
        if device < 30:
            tables.append(score_counts.counted(z, label, np.zeros(200, np.int64), 1, "rank")[0])
        else:
            held.append((z.astype(np.float32), label))
    z, label = (np.concatenate(part) for part in zip(*held, strict=True))
    before = measures.ece(apply(z, "rank", Calibration()), label)
    for method in ("platt", "isotonic"):
        fitted = score_counts.calibration(method, tables)  # type: ignore[arg-type]
        after = measures.ece(apply(z, "rank", fitted), label)
        print(f"{method}: ECE on held-out devices {before:.4f} before, {after:.4f} after")
        assert after < 0.5 * before


@given(
    st.lists(st.tuples(st.floats(-12.0, 12.0), st.booleans(), st.integers(0, 2)), min_size=1, max_size=60),
    st.integers(1, 59),
)
def test_tables_add_up_whoever_counts(rows: list[tuple[float, bool, int]], cut: int) -> None:
    def table(some: list[tuple[float, bool, int]]) -> np.ndarray:
        z, label, group = (np.array(part) for part in zip(*some, strict=True)) if some else (np.zeros(0),) * 3
        return score_counts.counted(z, label.astype(float), group.astype(np.int64), 3, "rank")

    whole = table(rows)
    assert (table(rows[:cut]) + table(rows[cut:]) == whole).all()
    assert whole.sum() == len(rows)
    assert score_counts.fault(whole.reshape(-1), 3) == ""
    assert score_counts.fault(whole.reshape(-1), 2)
