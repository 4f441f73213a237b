"""Downloads that are slow, break, are taken up again, or are held back; clocks that are wrong; months away."""

import time
from typing import Any

import msgspec
import pytest
from tuf.api.metadata import TargetFile

from coordinator.shell import ceremony
from edge_agent.errors import (
    DiskFull,
    MetadataExpired,
    RegistryUnreachable,
    RetrievalSlow,
    RollbackRefused,
    SignatureRejected,
    TargetInvalid,
)
from edge_agent.shell.download import Pace, Slow
from edge_agent.shell.pipe import Ended, Fetched, FetchTask
from tests.attack.mirror import crawling, cut_off
from tests.attack.yard import NEW, Victim, Yard, version

pytestmark = pytest.mark.attack
DAY_MS = 86_400_000


def _code(word: Fetched | Ended) -> str:
    return word.code if isinstance(word, Ended) else f"fetched {word.version}"


def _own(yard: Yard, **more: Any) -> FetchTask:
    """In a folder of its own, so that the agent does not find the file."""
    return yard.task(bundles_dir=str(yard.folder / "bundles"), **more)


@pytest.mark.parametrize("what", ["timestamp.json", "/targets/bundles/"])
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(yard: Yard, agent: Victim, what: str) -> None:
    """`slow retrieval`."""
    yard.mirror.deeds[what] = crawling
    assert _code(yard.fetched(_own(yard, patience_s=1.0))) == RetrievalSlow.code
    assert agent.decides() == "1.0.0"


def test_a_broken_download_goes_on_where_it_stopped(yard: Yard) -> None:
    """The line breaks six times; nothing is fetched twice."""
    size = yard.bundle().stat().st_size
    yard.mirror.deeds["/targets/bundles/"] = cut_off(size // 6)
    assert _code(yard.fetched(_own(yard))) == f"fetched {NEW}"
    assert len([path for path in yard.mirror.asked if "/targets/bundles/" in path]) == -(-size // (size // 6))


def test_what_came_before_the_line_was_lost_is_kept_for_the_next_time(yard: Yard) -> None:
    part = yard.folder / "bundles" / f".context-{NEW}.edgeward.part"
    part.parent.mkdir()
    half = yard.bundle().stat().st_size // 2
    part.write_bytes(yard.bundle().read_bytes()[:half])
    yard.mirror.deeds["/targets/bundles/"] = cut_off(0)
    assert _code(yard.fetched(_own(yard))) == RegistryUnreachable.code
    assert part.stat().st_size == half
    yard.mirror.deeds.clear()
    assert _code(yard.fetched(_own(yard))) == f"fetched {NEW}"
    assert not part.exists()


def test_a_server_without_ranges_is_asked_for_the_whole_again(yard: Yard) -> None:
    part = yard.folder / "bundles" / f".context-{NEW}.edgeward.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * 3_000)
    yard.mirror.ranges = False
    assert _code(yard.fetched(_own(yard))) == f"fetched {NEW}"


def test_a_part_that_was_tampered_with_is_thrown_away_and_the_next_time_is_whole(yard: Yard) -> None:
    part = yard.folder / "bundles" / f".context-{NEW}.edgeward.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * 3_000)
    assert _code(yard.fetched(_own(yard))) == SignatureRejected.code
    assert not part.exists()
    assert _code(yard.fetched(_own(yard))) == f"fetched {NEW}"


def test_a_part_that_is_a_link_leads_nowhere(yard: Yard) -> None:
    """`symlink`: somebody who may write in the folder must not have the updater write elsewhere."""
    victim = yard.folder / "precious"
    victim.write_text("precious")
    part = yard.folder / "bundles" / f".context-{NEW}.edgeward.part"
    part.parent.mkdir()
    part.symlink_to(victim)
    assert _code(yard.fetched(_own(yard))) == RegistryUnreachable.code
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("number", ["../../etc/passwd", "1.0.1/..", "v1.0.1", "1.0.1\n", ""])
def test_a_version_that_is_none_is_refused_by_the_child_too(yard: Yard, number: str) -> None:
    assert _code(yard.fetched(_own(yard, version=number))) == TargetInvalid.code
    assert yard.mirror.asked == []


def test_a_disk_without_room_is_found_before_anything_is_fetched(yard: Yard) -> None:
    from edge_agent.shell import updater

    signed = TargetFile.from_data("bundles/x", b"x")
    signed.length = 2**62
    (yard.folder / "bundles").mkdir()
    with pytest.raises(DiskFull):
        updater.refuse_full(yard.folder / "bundles", yard.folder / "none", signed)


def test_a_download_is_held_to_its_rate(yard: Yard) -> None:
    size = yard.bundle().stat().st_size
    started = time.monotonic()
    assert _code(yard.fetched(_own(yard, rate_max=size // 3))) == f"fetched {NEW}"
    assert time.monotonic() - started > 2.5


def test_the_pace_is_held_below_and_above() -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(1_000, 0, 1.0, lambda: now[0], sleep)
    for _ in range(10):
        pace.took(500)
    assert now[0] == pytest.approx(5.0)
    slow = Pace(1_000, 100, 2.0, lambda: now[0], sleep)
    now[0] += 1.9
    slow.took(1)
    now[0] += 0.2
    with pytest.raises(Slow):
        slow.took(1)


def test_waiting_for_ones_own_rate_is_not_slowness() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    pace = Pace(50, 100, 1.0, lambda: now[0], sleep)
    for _ in range(20):
        now[0] += 0.01
        pace.took(50)
    assert now[0] == pytest.approx(20.0, abs=0.5)


def test_a_clock_that_was_set_back_does_not_revive_what_has_expired(yard: Yard, agent: Victim) -> None:
    """The clock says that timestamp holds for a week more; the agent knows that two have passed."""
    known_ms = int(time.time() * 1_000) + 14 * DAY_MS
    assert _code(yard.fetched(_own(yard, not_before_ms=known_ms))) == MetadataExpired.code
    assert agent.decides() == "1.0.0"


def test_a_clock_that_was_set_far_ahead_refuses_and_forgets_it_when_it_is_right_again(
    yard: Yard, agent: Victim
) -> None:
    assert _code(yard.fetched(_own(yard, not_before_ms=4_000_000_000_000))) == MetadataExpired.code
    assert agent.decides() == "1.0.0"
    assert _code(yard.fetched(_own(yard))) == f"fetched {NEW}"


def test_fast_forward_is_undone_by_new_keys_of_snapshot_and_timestamp(yard: Yard) -> None:
    """Somebody who had both keys set the versions far ahead: the honest registry is refused until they are replaced."""

    def ahead(signed: Any) -> None:
        signed.version = 2**31 - 1

    before = yard.path("timestamp").read_bytes()
    yard.with_keys_of("timestamp", ahead)
    yard.visit()
    yard.path("timestamp").write_bytes(before)
    assert _code(yard.fetched(_own(yard))) == RollbackRefused.code
    for role in ("snapshot", "timestamp"):
        assert ceremony.rotate(yard.registry, role) == {}
    assert _code(yard.fetched(_own(yard))) == f"fetched {NEW}"


def test_a_device_that_was_away_for_months_follows_every_root_that_it_missed(yard: Yard) -> None:
    yard.visit()
    for role in ("root", "timestamp", "root", "targets", "snapshot", "root"):
        assert ceremony.rotate(yard.registry, role) == {}
    yard.registry.publish(version(yard.folder, "1.0.2"))
    later = msgspec.structs.replace(_own(yard), version="1.0.2")
    assert _code(yard.fetched(later)) == "fetched 1.0.2"
    assert yard.registry.repository.current("root").signed.version == 7


def test_a_root_that_a_power_cut_took_away_is_found_again(yard: Yard) -> None:
    """python-tuf replaces its link to the root in two steps; here the power fails between them."""
    yard.visit()
    assert ceremony.rotate(yard.registry, "timestamp") == {}
    yard.visit()
    (yard.device / "trust" / "root.json").unlink()
    assert _code(yard.fetched(_own(yard))) == f"fetched {NEW}"
