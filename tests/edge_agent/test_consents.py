"""A person's word: versions of the text, objection, Global Privacy Control, and what of it is there after a restart."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_agent.memory.consent import Consents
from firmware_configs.consent_receipt import version_of
from firmware_configs.profile import Purpose
from tests.edge_agent.house import HOME, PERSON, House

TEXT = "Something that people are told about."
PURPOSES = (
    Purpose(name="asked", legal_basis="consent", consent="required", text=TEXT),
    Purpose(name="sold", legal_basis="consent", consent="required", text=TEXT, shares=True),
    Purpose(name="ours", legal_basis="legitimate-interests", consent="not-needed", text=TEXT),
    Purpose(name="owed", legal_basis="contract", consent="not-needed", text=TEXT),
)
NAMES = [one.name for one in PURPOSES]
VERSION = st.sampled_from([version_of(TEXT), "0" * 12])


def test_a_yes_to_other_words_does_not_count_and_is_asked_again() -> None:
    consents = Consents(PURPOSES)
    consents.hear("u", {"asked": True}, 1, 9, {"asked": "0" * 12})
    assert not consents.all_allowed(["asked"], "u")
    assert consents.lapsed("u") == {"asked"}
    consents.hear("u", {"asked": True}, 2, 9, {"asked": version_of(TEXT)})
    assert consents.all_allowed(["asked"], "u")
    assert not consents.lapsed("u")


def test_a_new_text_ends_a_stored_yes_even_when_the_broker_tells_the_old_word_again() -> None:
    before = Consents(PURPOSES)
    before.hear("u", {"asked": True, "sold": True}, 5, 9)
    word = before.word("u")
    changed = [replace(one, text="Other words about something.") if one.name == "asked" else one for one in PURPOSES]
    after = Consents(changed)
    after.hear("u", word.purposes, word.time_ms, 9, word.versions)
    assert after.granted("u") == {"sold"}
    after.hear("u", {"asked": True, "sold": True}, 5, 9)  # retained, and without versions
    assert after.granted("u") == {"sold"}
    assert after.lapsed("u") == {"asked"}
    after.hear("u", {"asked": True}, 6, 9)
    assert after.granted("u") == {"asked", "sold"}


def test_an_objection_holds_for_legitimate_interests_and_for_nothing_else_until_it_is_taken_back() -> None:
    consents = Consents(PURPOSES)
    consents.hear("u", {"ours": False, "owed": False}, 1, 9)
    assert not consents.all_allowed(["ours"], "u")
    assert consents.all_allowed(["owed"], "u"), "what is owed by contract cannot be objected to"
    assert consents.all_allowed(["ours"], "another")
    assert "ours" not in consents.served("u")
    consents.hear("u", {"ours": True}, 2, 9)
    assert consents.all_allowed(["ours"], "u")
    assert consents.granted("u") == frozenset()


def test_global_privacy_control_is_a_no_to_what_sells_or_shares_whatever_else_is_said() -> None:
    consents = Consents(PURPOSES)
    consents.hear("u", {"asked": True, "sold": True}, 1, 9, gpc=True)
    assert consents.granted("u") == {"asked"}


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(NAMES), st.booleans(), min_size=1),
            st.dictionaries(st.sampled_from(NAMES), VERSION),
            st.integers(0, 9),
            st.booleans(),
        )
    )
)
def test_after_a_restart_the_same_is_allowed(words: list[tuple[dict[str, bool], dict[str, str], int, bool]]) -> None:
    before, after = Consents(PURPOSES), Consents(PURPOSES)
    for purposes, versions, told_ms, gpc in words:
        before.hear("u", purposes, told_ms, 9, versions, gpc=gpc)
    word = before.word("u")
    after.hear("u", word.purposes, word.time_ms, 9, word.versions)
    for name in NAMES:
        assert after.all_allowed([name], "u") == before.all_allowed([name], "u"), name
    assert after.served("u") == before.served("u")


def test_after_an_objection_the_very_next_event_is_not_even_read() -> None:
    text = HOME.replace(
        'name = "personalise"\nlegal_basis = "consent"\nconsent = "required"',
        'name = "personalise"\nlegal_basis = "legitimate-interests"\nconsent = "not-needed"',
    ).replace('purposes = ["personalise", "improve-models"]\nrequired', 'purposes = ["personalise"]\nrequired')
    house = House(text)
    house.tell(house.pick(1))
    assert ("profile", PERSON) in house.rows
    assert len(house.decisions()) == 1
    house.consent(PERSON, "personalise", granted=False)
    assert ("profile", PERSON) not in house.rows, "what was kept is gone with the word"
    house.tell(house.pick(2))
    assert len(house.decisions()) == 1
    assert ("profile", PERSON) not in house.rows
    house.restart()
    house.tell(house.pick(3))
    assert len(house.decisions()) == 1, "and it holds over a restart"


SHARED = HOME.replace('name = "personalise"', 'name = "personalise"\nshares = true').replace(
    'purposes = ["personalise", "improve-models"]\nrequired', 'purposes = ["personalise"]\nrequired'
)


def test_an_event_with_global_privacy_control_objects_for_itself_and_for_all_that_follow() -> None:
    house = House(SHARED)
    house.consent(PERSON, "personalise")
    house.tell(house.pick(1))
    assert len(house.decisions()) == 1
    house.tell(house.pick(2, gpc=True))
    assert len(house.decisions()) == 1, "the very event that says so is not used"
    assert ("profile", PERSON) not in house.rows, "and what was kept is gone"
    house.tell(house.pick(3))
    assert len(house.decisions()) == 1, "nor is any after it"
    house.restart()
    house.tell(house.pick(4))
    assert len(house.decisions()) == 1


def test_global_privacy_control_is_true_or_nothing_and_only_where_a_purpose_shares() -> None:
    for text, flag in ((SHARED, "yes"), (SHARED, 1), (SHARED, False), (HOME, True)):
        house = House(text).everyone_agrees()
        house.tell(house.pick(1, gpc=flag))
        assert len(house.decisions()) == 1
    silent = House(SHARED.replace('subject = "user"', 'subject = "user"\ngpc = ""')).everyone_agrees()
    silent.tell(silent.pick(1, gpc=True))
    assert len(silent.decisions()) == 1


def test_an_old_event_with_global_privacy_control_takes_no_newer_yes_back() -> None:
    house = House(SHARED)
    old = house.pick(1, gpc=True)
    house.now += 1_000
    house.everyone_agrees()
    house.tell(old)
    assert len(house.decisions()) == 0, "the event itself asks not to be used"
    house.tell(house.pick(2))
    assert len(house.decisions()) == 1
