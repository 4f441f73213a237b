"""What is remembered survives storage, other bundles and damage, and stays bounded; consent is the newest word."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.limits import WINDOW_BUCKETS
from edge_agent.memory import profile as profiles
from edge_agent.memory import profile_v1
from edge_agent.memory.consent import Consents
from edge_agent.memory.features import Features
from edge_agent.memory.layout import DORMANT_MAX, Layouts
from edge_agent.memory.profile import Profile
from edge_agent.memory.subjects import Folded, Kept
from firmware_configs.profile import Purpose
from models import spec as s

LOCAL = (6, 2)
T0 = 1_800_000_000_000


def _input(*features: s.FeatureSpec) -> s.Input:
    width = sum(feature.width for feature in features)
    return s.Input(name="x", dtype="float32", shape=(-1, width), from_="features", features=features)


def test_a_profile_survives_storage_and_another_bundle() -> None:
    layouts = Layouts()
    first, second = _input(s.Last(field="v")), _input(s.Count(source="src", window_s=60), s.Last(field="v"))
    features = Features([first], layouts)
    own = Profile(layouts.now)
    features.update(own, {"v": 4.0}, "src", T0)
    stored = profiles.pack(own)
    features = Features([second], layouts)
    again = profiles.unpack(stored, layouts)
    assert features.row(second, again, T0 + 1_000, LOCAL).tolist() == [[0.0, 4.0]]


def test_a_bundle_that_returns_finds_its_trackers_where_it_left_them() -> None:
    layouts = Layouts()
    old, new = _input(s.Last(field="v")), _input(s.Last(field="w"))
    features = Features([old], layouts)
    own = Profile(layouts.now)
    features.update(own, {"v": 4.0}, "src", T0)
    features = Features([new], layouts)
    own.fit(layouts)
    features.update(own, {"w": 5.0}, "src", T0 + 1)
    features = Features([old, new], layouts)
    assert features.row(old, own, T0 + 2, LOCAL).tolist() == [[4.0]]
    assert features.row(new, own, T0 + 2, LOCAL).tolist() == [[5.0]]


def test_trackers_that_nobody_needs_make_room_and_the_others_move_over() -> None:
    layouts = Layouts()
    kept = s.Mean(field="v", window_s=60)
    wide = _input(kept, *(s.Count(source="src", window_s=n) for n in range(1, 4 + DORMANT_MAX // WINDOW_BUCKETS)))
    features = Features([wide], layouts)
    own = Profile(layouts.now)
    features.update(own, {"v": 4.0}, "src", T0)
    stored, before = profiles.pack(own), layouts.now
    narrow = _input(kept)
    for _ in range(2):
        features = Features([narrow], layouts)
    assert layouts.now.size < before.size
    again = Layouts()
    for layout in (before, layouts.now):
        again.restore(layout.generation, layout.pack())
    for profile in (profiles.unpack(stored, layouts), profiles.unpack(stored, again)):
        assert features.row(narrow, profile, T0, LOCAL).tolist() == [[4.0]]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.tuples(
    st.just(2), st.integers(-1, 3), st.integers(-1, 99), st.binary(max_size=20), st.binary(max_size=80),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
).map(msgspec.msgpack.encode))  # fmt: skip
def test_any_stored_bytes_are_a_profile_or_a_named_error(packed: bytes) -> None:
    layouts = Layouts()
    features = Features([_input(s.Last(field="v"), s.Mean(field="v", window_s=60))], layouts)
    for read in (lambda: profiles.unpack(packed, layouts), lambda: profile_v1.read(packed, layouts, features.words)):
        try:
            profile = read()
        except msgspec.MsgspecError:
            continue
        assert len(profile.row) == layouts.now.size


def test_cold_states_come_back_from_the_store_and_memory_stays_bounded() -> None:
    stored: dict[str, bytes] = {}
    kept: Kept[list[int]] = Kept(stored.get, list, list, 3)
    for n in range(10):
        state = kept.get(str(n))
        state.append(n)
        stored[str(n)] = bytes(state)
        kept.trim()
        assert len(kept) <= 3
    assert [kept.get(str(n)) for n in range(10)] == [[n] for n in range(10)]


def test_what_a_step_touches_stays_until_the_step_is_over() -> None:
    kept: Kept[list[int]] = Kept(lambda _key: None, list, list, 3)
    for n in range(10):
        kept.get(str(n)).append(n)
    assert [kept.get(str(n)) for n in range(10)] == [[n] for n in range(10)]


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["change", "read", "replace", "step"]))))
def test_a_folded_cache_never_says_anything_else_than_the_store_and_this_step(said: list[tuple[str, str]]) -> None:
    stored: dict[str, bytes] = {}
    folded: Folded[list[int]] = Folded(stored.get, bytes, list, list, 10)
    folded.limit(40, 2)
    truth: dict[str, list[int]] = {}
    changed: set[str] = set()
    for number, (key, what) in enumerate(said):
        if what == "change":
            folded.get(key).append(number % 256)
            truth.setdefault(key, []).append(number % 256)
            changed.add(key)
        elif what == "replace":
            folded.replace(key, [])
            stored.pop(key, None)
            truth.pop(key, None)
            changed.discard(key)
        elif what == "step":
            stored |= {one: folded.fold(one) for one in changed}
            changed.clear()
            folded.trim()
            assert len(folded) <= 4 + 2
        assert folded.get(key) == truth.get(key, [])


def test_a_folded_cache_asks_the_store_only_for_what_it_does_not_hold() -> None:
    stored = {str(n): bytes([n]) for n in range(6)}
    asked: list[str] = []

    def recall(key: str) -> bytes | None:
        asked.append(key)
        return stored.get(key)

    folded: Folded[list[int]] = Folded(recall, bytes, list, list, 10)
    folded.limit(4 * 11, 1)
    for key in [*"012345", *"5432", *"2345", "0"]:
        folded.get(key)
        folded.trim()
    assert asked == [*"012345", "0"]


def _consents() -> Consents:
    text = "Something that people are told about."
    return Consents(
        [
            Purpose(name="asked", legal_basis="consent", consent="required", text=text),
            Purpose(name="free", legal_basis="contract", consent="not-needed", text=text),
        ]
    )


def test_without_a_word_the_answer_is_no_and_only_known_purposes_can_be_granted() -> None:
    consents = _consents()
    assert not consents.all_allowed(["asked"], "u")
    assert consents.all_allowed(["free"], "u")
    consents.hear("u", {"asked": True, "invented": True}, 1, 5)
    assert consents.granted("u") == {"asked"}
    assert not consents.all_allowed(["invented"], "u")
    assert consents.subjects_allowing(["asked"]) == ("u",)


def test_after_a_word_from_a_clock_that_runs_ahead_a_no_still_counts_and_a_yes_must_be_newer() -> None:
    consents = _consents()
    assert consents.hear("u", {"asked": True}, 2_000, 1_000)
    assert consents.hear("u", {"asked": False}, 1_001, 1_001)
    assert not consents.granted("u")
    assert not consents.hear("u", {"asked": True}, 1_002, 1_002)
    assert consents.hear("u", {"asked": True}, 2_001, 2_001)
    assert not consents.hear("u", {"asked": False}, 1_003, 2_002), "an old no is old"


WORDS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.booleans(), min_size=1)


@given(st.lists(st.tuples(WORDS, st.integers(0, 9))))
def test_consent_is_after_a_restart_what_it_was(words: list[tuple[dict[str, bool], int]]) -> None:
    text = "Something that people are told about."
    purposes = [Purpose(name=n, legal_basis="consent", consent="required", text=text) for n in ("a", "b", "c")]
    before, after = Consents(purposes), Consents(purposes)
    for purpose, told_ms in words:
        before.hear("u", purpose, told_ms, 9)
    word = before.word("u")
    after.hear("u", word.purposes, word.time_ms, 9)
    assert after.granted("u") == before.granted("u")
    assert after.told_ms("u") == before.told_ms("u")
