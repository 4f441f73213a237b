"""A killed agent loses nothing and repeats nothing."""

import shutil
from pathlib import Path

import pytest

from tests.crash.storm import lost, storm

MOSQUITTO = shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists()


@pytest.mark.parametrize(
    ("broker", "seed"),
    [
        ("iotcore", 1),
        ("iotcore", 2),
        pytest.param(
            "mosquitto", 3, marks=pytest.mark.skipif(not MOSQUITTO, reason="needs Debian's mosquitto (make setup-dev)")
        ),
    ],
)
def test_kill_9_in_the_middle_of_a_stream_loses_no_event_and_repeats_no_decision(
    tmp_path: Path, broker: str, seed: int
) -> None:
    books = storm(tmp_path, kills=2, seed=seed, broker=broker)
    assert books.events > 100
    assert lost(books) == 0, books
    assert books.repeated == 0, books
