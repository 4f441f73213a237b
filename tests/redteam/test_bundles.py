"""A bundle with the right signature and bad intent is stopped before it serves; what only shows later, after."""

from pathlib import Path

import pytest

from tests.redteam.bundles import BUNDLES, met

STOPPED = {
    "fills memory": "probe",
    "weights that nobody measured": "probe",
    "reads more than is collected": "shelf",
    "an archive that climbs out": "probe",
    "another bundle under the name": "probe",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*STOPPED, "takes for ever"])
def test_it_is_stopped_before_it_serves(tmp_path: Path, name: str) -> None:
    assert met(BUNDLES[name], tmp_path).by == STOPPED.get(name, "probe")


def test_what_hangs_on_one_reading_passes_the_probe(tmp_path: Path) -> None:
    """The trial's own guard stops it: tests/rollout/test_killer.py."""
    assert met(BUNDLES["hangs on one reading"], tmp_path).by == "nothing"


@pytest.mark.parametrize("name", ["weights that nobody measured"])
def test_without_the_probe_it_would_serve(tmp_path: Path, name: str) -> None:
    assert met(BUNDLES[name], tmp_path, probes=False).by == "nothing"
