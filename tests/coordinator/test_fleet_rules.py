"""The fleet's rules as values: revisions and differences, who is meant, what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import RevisionConflict, SelectionInvalid, TagInvalid
from coordinator.fleet.health import DAY_MS, MINUTE_MS, Thresholds, duration, examine
from coordinator.fleet.selection import Term, ordered, parse, select, tag
from coordinator.fleet.shadow import differences, revise
from coordinator.fleet.view import DeviceView
from firmware_configs.messages import BundleState, Desired, Reported, Status

NOW = 1_800_000_000_000
US = "c" * 16


def view(name: str = "home-1", **more: object) -> DeviceView:
    given: dict[str, object] = {"name": name, "node": 1, "enrolled_ms": NOW - DAY_MS, "seen_ms": NOW, "online": True}
    return DeviceView(**{**given, "said_by": "device", **more})  # type: ignore[arg-type]


def reported(revision: int, **bundles: BundleState) -> Reported:
    return Reported(device="home-1", revision=revision, bundles=bundles)


def test_a_change_takes_the_next_revision_and_says_whom_it_is_for() -> None:
    new = revise(Desired(revision=3), lambda old: old, device="home-1", by=US)
    assert (new.revision, new.device, new.by) == (4, "home-1", US)
    assert revise(Desired(revision=3), lambda old: old, device="home-1", by=US, above=9).revision == 10


def test_a_writer_that_saw_an_older_revision_is_refused() -> None:
    with pytest.raises(RevisionConflict, match="--if-revision 3"):
        revise(Desired(revision=3), lambda old: old, device="home-1", by=US, if_revision=2)
    assert revise(Desired(revision=3), lambda old: old, device="home-1", by=US, if_revision=3).revision == 4


def test_the_difference_is_what_is_still_to_be_done() -> None:
    wanted = Desired(revision=4, bundles={"a": "1", "b": "2", "c": "3"})
    runs = reported(
        4,
        a=BundleState(version="1", state="active"),
        b=BundleState(version="2", state="failed", reason="AGT706", serving="1"),
    )
    found = {one.what: (one.wanted, one.runs, one.why) for one in differences(wanted, runs)}
    assert found == {"bundle b": ("2", "1", "failed: AGT706"), "bundle c": ("3", "", "")}
    assert differences(Desired(revision=0), None) == []
    assert [one.what for one in differences(wanted, None)] == ["revision"]
    assert differences(Desired(revision=4), reported(4)) == []


def test_a_profile_that_is_not_taken_differs_from_what_is_wanted_with_its_reason() -> None:
    wanted = Desired(revision=4, documents={"profile": "home-1.2.0", "experiment": "loud-1.0.0"})

    def found(**documents: BundleState) -> dict[str, tuple[str, str, str]]:
        runs = Reported(device="home-1", revision=4, bundles={}, documents=documents)
        return {one.what: (one.wanted, one.runs, one.why) for one in differences(wanted, runs)}

    refused = BundleState(version="1.2.0", state="failed", reason="AGT714 it widens")
    assert found(profile=refused) == {
        "profile": ("home-1.2.0", "", "failed: AGT714 it widens"),
        "experiment": ("loud-1.0.0", "", ""),
    }
    older = BundleState(version="1.1.0", state="active")
    assert found(profile=older)["profile"] == ("home-1.2.0", "1.1.0", "active")
    runs = {"profile": BundleState(version="1.2.0", state="active")}
    assert found(**runs, experiment=BundleState(version="1.0.0", state="active")) == {}


words = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True)
terms = st.builds(Term, st.sampled_from(["tag", "bundle"]), words, st.none() | words, st.booleans()) | st.builds(
    Term, st.sampled_from(["name", "group", "presence", "agent", "profile"]), st.just(""), words, st.booleans()
)


@given(st.lists(terms, min_size=1, max_size=5))
def test_a_selection_reads_what_it_writes(held: list[Term]) -> None:
    assert list(parse([",".join(map(str, held))])) == held


@given(st.text(max_size=60))
def test_any_text_is_a_selection_or_a_named_error(text: str) -> None:
    try:
        assert parse([text])
    except SelectionInvalid as error:
        assert "tag:KEY=VALUE" in error.hint


def test_devices_are_chosen_by_all_of_the_terms() -> None:
    lab = view("lab-1", tags={"site": "lab"}, groups=("beta",))
    home = view("home-1", tags={"site": "home"}, online=False)
    gone = view("lab-2", tags={"site": "lab"}, revoked=True)
    fleet = [home, lab, gone]

    def names(*where: str) -> list[str]:
        return [one.name for one in select(fleet, parse(where))]

    assert names("tag:site=lab") == ["lab-1", "lab-2"]
    assert names("tag:site=lab,group:beta") == ["lab-1"]
    assert names("tag:site=lab", "!presence:revoked") == ["lab-1"]
    assert names("tag:site") == ["home-1", "lab-1", "lab-2"]
    assert names("!tag:site=l*") == ["home-1"]
    assert names("name:lab-*") == ["lab-1", "lab-2"]
    assert names() == ["home-1", "lab-1", "lab-2"]
    assert [one.name for one in ordered(fleet, "presence")] == ["home-1", "lab-1", "lab-2"]


def test_a_tag_is_set_or_taken_away() -> None:
    assert tag("site=lab") == ("site", "lab")
    assert tag("site-") == ("site", None)
    for wrong in ("site", "=lab", "site=", "a b=c", "site=a/b", ""):
        with pytest.raises(TagInvalid):
            tag(wrong)


ILL = {
    "silent": {"seen_ms": NOW - 20 * MINUTE_MS},
    "offline": {"online": False, "seen_ms": NOW - 20 * MINUTE_MS},
    "never-seen": {"online": None, "seen_ms": 0},
    "stuck": {"desired": Desired(revision=3), "reported": reported(2), "wished_ms": NOW - 31 * MINUTE_MS},
    "ahead": {"desired": Desired(revision=3), "reported": reported(9)},
    "ignored": {"reported": Reported(device="home-1", revision=3, bundles={}, ignored="conflict: another state")},
    "bundle": {"reported": reported(0, a=BundleState(version="2", state="failed", reason="AGT706 it crashes"))},
    "document": {
        "reported": Reported(
            device="home-1",
            revision=0,
            bundles={},
            documents={"profile": BundleState(version="1.2.0", state="failed", reason="AGT714 it widens")},
        )
    },
    "certificate": {"certificate_ends_ms": NOW + 3 * DAY_MS},
    "clock": {"skew_ms": 5 * MINUTE_MS},
    "old-agent": {"status": Status(device="home-1", online=True, agent="0.1.0")},
}


@pytest.mark.parametrize("code", ILL)
def test_what_is_wrong_is_found_and_nothing_else(code: str) -> None:
    [one] = examine([view(**ILL[code])], NOW, Thresholds(newest_agent="0.2.0"))
    assert one.code == code
    assert one.device == "home-1"
    assert one.fix


def test_a_fleet_that_is_well_has_no_findings() -> None:
    good = Status(device="home-1", online=True, agent="0.2.0")
    well = view(
        status=good,
        desired=Desired(revision=3, bundles={"a": "1"}),
        reported=reported(3, a=BundleState(version="1", state="active")),
        certificate_ends_ms=NOW + 80 * DAY_MS,
        skew_ms=-900,
    )
    just_told = view("home-2", desired=Desired(revision=4), reported=reported(3), wished_ms=NOW - MINUTE_MS)
    fresh = view("home-3", online=None, seen_ms=0, enrolled_ms=NOW - MINUTE_MS)
    assert examine([well, just_told, fresh], NOW) == []


def test_revoked_devices_are_nobodys_worry_and_failures_come_first() -> None:
    found = examine(
        [view("a", **ILL["clock"]), view("b", **ILL["bundle"]), view("c", revoked=True, skew_ms=DAY_MS)], NOW
    )
    assert [one.device for one in found] == ["b", "a"]


def test_a_certificate_that_has_ended_is_a_failure() -> None:
    [one] = examine([view(certificate_ends_ms=NOW - DAY_MS * 2)], NOW)
    assert (one.severity, one.what) == ("failure", "its certificate ended 2 d ago")


def test_durations_are_said_in_the_largest_unit() -> None:
    assert [duration(ms) for ms in (900, 61_000, 3 * 3_600_000, 5 * DAY_MS)] == ["0 s", "1 min", "3 h", "5 d"]
