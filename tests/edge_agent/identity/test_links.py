"""Who counts as one person, and who never does."""

import pytest

from edge_agent.limits import DAY_MS
from tests.edge_agent.house import NOW
from tests.edge_agent.identity.kin_house import KinHouse, text

MINUTE_MS = 60_000


def _home() -> KinHouse:
    return KinHouse().everybody()


def test_who_logs_in_with_the_same_account_is_one_person_named_by_the_one_that_came_first() -> None:
    home = _home()
    home.touch("tablet", item="a")
    home.now += 1_000
    home.touch("phone", account="ann")
    assert home.persons() == []
    home.touch("tablet", account="ann")
    assert home.persons() == [("phone", "tablet")]
    assert home.agent.people.person("phone", home.now) == "tablet"
    assert home.agent.people.person("laptop", home.now) == "laptop"


def test_a_younger_subject_that_joins_changes_nobodys_name() -> None:
    home = _home()
    for subject in ("phone", "tablet", "laptop"):
        home.now += 1_000
        home.touch(subject, account="ann")
        assert home.agent.people.person(subject, home.now) == "phone"


def test_a_pairing_holds_from_either_side_and_only_with_somebody_who_is_known() -> None:
    home = _home()
    home.touch("watch", peer="phone")
    assert home.persons() == []
    home.touch("phone", item="a")
    assert home.persons() == [("phone", "watch")]


def test_a_certain_link_ends_when_it_was_not_seen_for_so_long_and_is_renewed_before() -> None:
    home = _home()
    for subject in ("phone", "tablet"):
        home.touch(subject, account="ann")
    for _ in range(5):
        home.now += 80 * DAY_MS
        home.touch("phone", account="ann")
        home.now += 60_000
        home.touch("phone", account="ann")
        home.now += DAY_MS
        home.touch("phone", account="ann")
        if _ == 0:
            home.touch("tablet", account="ann")
            assert home.persons() == [("phone", "tablet")]
    assert home.persons() == []


def test_a_subject_with_two_accounts_is_shared_and_belongs_to_nobody_until_one_has_ended() -> None:
    home = _home()
    home.touch("phone", account="ann")
    home.touch("laptop", account="bob")
    home.touch("tablet", account="ann")
    assert home.persons() == [("phone", "tablet")]
    home.touch("tablet", account="bob")
    assert home.persons() == []
    for _ in range(100):
        home.now += DAY_MS
        home.touch("tablet", account="bob")
        home.touch("laptop", account="bob")
    assert home.persons() == [("laptop", "tablet")]


def test_two_accounts_of_one_login_are_never_one_person_whatever_pairs_them() -> None:
    home = _home()
    home.touch("phone", account="ann", peer="laptop")
    home.touch("laptop", account="bob", peer="phone")
    assert home.persons() == []
    home.touch("watch", peer="phone")
    home.touch("watch", peer="laptop")
    assert all(not {"phone", "laptop"} <= set(one) for one in home.persons())
    home.people_said("phone", "laptop", same=True)
    assert all(not {"phone", "laptop"} <= set(one) for one in home.persons())


def test_who_was_at_two_places_at_the_same_time_is_two_people() -> None:
    home = _home()
    home.touch("phone", account="ann", room="kitchen")
    home.touch("tablet", account="ann", room="kitchen")
    assert home.persons() == [("phone", "tablet")]
    home.now += 60_000
    home.touch("phone", room="kitchen")
    home.now += 5_000
    home.touch("tablet", room="attic")
    assert home.persons() == []
    home.people_said("phone", "tablet", same=True)
    assert home.persons() == []
    for _ in range(50):
        home.now += 2 * DAY_MS
        home.touch("phone", account="ann")
        home.touch("tablet", account="ann")
    assert home.persons() == [("phone", "tablet")]


def test_walking_from_room_to_room_keeps_nobody_apart() -> None:
    home = _home()
    home.touch("phone", account="ann", room="kitchen")
    home.now += 11_000
    home.touch("tablet", account="ann", room="attic")
    assert home.persons() == [("phone", "tablet")]


def test_people_may_link_and_split_and_their_word_counts_for_more_than_a_login() -> None:
    home = _home()
    for subject in ("phone", "tablet", "laptop"):
        home.touch(subject, account="ann")
    home.people_said("tablet", same=False)
    assert home.persons() == [("laptop", "phone")]
    home.people_said("tablet", "phone", same=True)
    home.people_said("tablet", "laptop", same=True)
    assert home.persons() == [("laptop", "phone", "tablet")]


def test_an_operator_who_names_a_stranger_is_told_and_nothing_happens() -> None:
    home = _home()
    home.touch("phone", account="ann")
    home.people_said("phone", "nobody", same=True)
    assert home.persons() == []
    assert home.kept().keys() == {"head", "seen\x00phone"}


@pytest.mark.parametrize("subject", ["phone", "tablet"])
def test_who_takes_consent_back_is_forgotten_here_at_once(subject: str) -> None:
    home = _home()
    home.touch("phone", account="ann", peer="tablet", network="home")
    home.touch("tablet", account="ann", network="home")
    home.people_said("phone", "tablet", same=True)
    assert home.persons() == [("phone", "tablet")]
    home.now += 1
    home.consent(subject, "recognise", granted=False)
    assert home.persons() == []
    assert [key for key, row in home.kept().items() if subject in f"{key} {row}"] == []
    home.touch(subject, account="ann")
    assert [key for key, row in home.kept().items() if subject in f"{key} {row}"] == []
    home.now += 1
    home.consent(subject, "recognise")
    home.touch(subject, account="ann")
    assert home.persons() == [("phone", "tablet")]


def test_who_never_agreed_is_linked_with_nobody_and_the_household_is_no_person() -> None:
    home = KinHouse().everybody("phone")
    home.consent("tablet", "personalise")
    for subject in ("phone", "tablet"):
        home.touch(subject, account="ann", peer="phone")
    assert home.persons() == []
    assert home.kept().keys() == {"head", "seen\x00phone"}


def test_what_one_of_a_persons_subjects_takes_back_holds_for_all_of_them() -> None:
    home = _home()
    for subject in ("phone", "tablet"):
        home.touch(subject, account="ann")
    decided = len(home.decisions())
    home.touch("phone", item="a")
    assert len(home.decisions()) == decided + 1
    home.now += 1
    home.consent("tablet", "personalise", granted=False)
    home.touch("phone", item="a")
    assert len(home.decisions()) == decided + 1
    assert home.agent.consents.subjects_allowing(["personalise"]) == ("laptop", "watch")
    home.people_said("tablet", same=False)
    home.touch("phone", item="a")
    assert len(home.decisions()) == decided + 2


def test_a_leap_of_our_clock_parts_nobody() -> None:
    home = _home()
    for subject in ("phone", "tablet"):
        home.touch(subject, account="ann")
    home.now += 14 * 365 * DAY_MS
    assert home.persons() == [("phone", "tablet")]
    home.touch("phone", item="a")
    home.now += 3_600_000
    home.touch("tablet", item="a")
    assert home.persons() == [("phone", "tablet")]
    home.now = NOW + 2 * 3_600_000
    home.touch("tablet", item="a")
    assert home.persons() == [("phone", "tablet")]
    home.now += 88 * DAY_MS
    home.touch("tablet", item="a")
    home.now += 3 * DAY_MS
    home.touch("tablet", item="a")
    home.now += DAY_MS
    home.touch("tablet", item="a")
    assert home.persons() == []


def _evening(home: KinHouse, days: int) -> None:
    """Ann puts her phone down and takes her laptop, at other hours than Bob has the tablet."""
    for _ in range(days):
        for hour in range(3):
            home.now += 3_600_000
            home.touch("phone", network=f"home-{hour}", item="a")
            home.now += MINUTE_MS
            home.touch("laptop", network=f"home-{hour}", item="a")
        home.now += 3_600_000
        home.touch("tablet", network="home-9", item="c")
        home.now += 20 * 3_600_000


def test_evidence_links_after_a_while_with_a_confidence_that_falls_when_it_gets_old() -> None:
    home = KinHouse(text().replace("days = 90 }", "days = 400 }")).everybody()
    _evening(home, 2)
    assert home.persons() == []
    _evening(home, 14)
    assert home.persons() == [("laptop", "phone")]
    (person,) = home.graph.persons(home.now)
    (link,) = person.links
    first = home.graph.confidence(link, home.now)
    assert link.kind == "likely"
    assert 0.9 <= first < 1.0
    home.now += DAY_MS // 2
    assert home.graph.confidence(link, home.now) < first
    for _ in range(600):
        home.now += DAY_MS // 2
        home.touch("tablet", item="c")
    assert home.persons() == []


def test_evidence_never_joins_what_logins_contradict() -> None:
    home = _home()
    home.touch("phone", account="ann")
    home.touch("laptop", account="bob")
    _evening(home, 20)
    assert home.persons() == []


def test_a_tablet_that_two_people_use_by_turns_belongs_to_neither() -> None:
    home = _home()
    for day in range(30):
        for first, second in (("phone", "tablet"), ("laptop", "tablet")):
            home.now += 3 * 3_600_000
            home.touch(first, network=f"room-{day}-{first}", item="a")
            home.now += MINUTE_MS
            home.touch(second, network=f"room-{day}-{first}", item="a")
        home.now += 12 * 3_600_000
        if day % 3 == 0:
            home.touch("phone", room="kitchen")
            home.touch("laptop", room="attic")
    assert home.persons() == []
