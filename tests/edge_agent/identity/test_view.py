"""What a link changes in decisions, what a split gives back, and what leaves the device: nothing of it."""

import msgspec
import pytest
from msgspec.structs import replace

from edge_agent.decide import decision
from edge_agent.decide.decision import Trail
from edge_agent.effects import Append
from edge_agent.infer.model import LoadedModel
from edge_agent.learn import examples
from firmware_configs.messages import DecisionMade
from models import spec as s
from tests.edge_agent.house import bundle
from tests.edge_agent.identity.kin_house import KinHouse, text

FEATURES: tuple[s.FeatureSpec, ...] = (
    s.Count(field="item", window_s=86_400.0),
    s.Last(field="amount"),
    s.Ewma(field="amount", half_life_s=3_600.0),
    s.TimeSince(source="touch", cap_s=1e6),
)
"""As many columns as the shipped `context` has: its graph runs on them as it is."""


def _model() -> LoadedModel:
    shipped = bundle("context")
    asked = replace(shipped.spec.inputs[0], features=FEATURES)
    return replace(shipped, spec=replace(shipped.spec, inputs=(asked,)))


def _home(view: str) -> KinHouse:
    model = (
        '[[model]]\nname = "context"\nversions = ">=1.0,<2"\npurposes = ["personalise"]\n'
        'learn = [{ source = "touch", label_field = "amount" }]\n[[placement]]'
    )
    profile = text(view, '["context"]').replace("[[placement]]", model)
    profile = profile.replace('{ item = "a" }', '{ item = "a", score = "context" }')
    profile = profile.replace('{ item = "b" }', '{ item = "b", score = "0.5" }').replace(
        '{ item = "c" }', '{ item = "c", score = "1.0 - context" }'
    )
    return KinHouse(profile, (_model(),)).everybody()


def _trails(home: KinHouse) -> list[Trail]:
    return [decision.unpack(e.value) for e in home.effects if isinstance(e, Append) and e.shelf == "decision"]


def _live(home: KinHouse, *, logins: bool, one_name: bool = False) -> None:
    account = {"account": "ann"} if logins else {}
    for n in range(12):
        home.now += 61_000
        user = "phone" if one_name or n % 3 else "tablet"
        home.touch(user, item="abc"[n % 3], amount=n / 12, **account)


def test_models_see_the_persons_whole_history_as_if_one_subject_had_it_all() -> None:
    linked, single = _home("person"), _home("person")
    _live(linked, logins=True)
    _live(single, logins=True, one_name=True)
    of_linked, of_single = _trails(linked)[-1], _trails(single)[-1]
    assert of_linked.subject == of_single.subject == "phone"
    assert of_linked.features["features"] == pytest.approx(of_single.features["features"])
    assert of_linked.kin
    assert not of_single.kin


def test_with_the_subjects_view_a_link_changes_no_feature() -> None:
    linked, alone = _home("subject"), _home("subject")
    _live(linked, logins=True)
    _live(alone, logins=False)
    assert [one.features for one in _trails(linked)] == [one.features for one in _trails(alone)]


@pytest.mark.parametrize("view", ["subject", "person"])
def test_a_split_gives_each_its_own_history_back(view: str) -> None:
    linked, alone = _home(view), _home(view)
    _live(linked, logins=True)
    _live(alone, logins=False)
    profiles = {key: row for key, row in alone.rows.items() if key[0] == "profile"}
    assert {key: row for key, row in linked.rows.items() if key[0] == "profile"} == profiles
    linked.people_said("tablet", same=False)
    for home in (linked, alone):
        home.now += 61_000
        home.touch("tablet", item="a", amount=0.5)
    assert _trails(linked)[-1].features == _trails(alone)[-1].features


def test_an_example_holds_the_very_features_that_were_served() -> None:
    home = _home("person")
    _live(home, logins=True)
    kept = [examples.unpack(e.value) for e in home.effects if isinstance(e, Append) and e.shelf == "example"]
    assert len(kept) == len(_trails(home)) == 12
    assert [one.features for one in kept] == [one.features for one in _trails(home)]


def test_a_person_stays_in_one_arm_whichever_subject_asks() -> None:
    home = _home("subject")
    _live(home, logins=True)
    assert len({(one.arm, one.experiment) for one in _trails(home)[3:]}) == 1


def _sent(home: KinHouse) -> list[tuple[str, bytes]]:
    return [(sent.topic, sent.payload) for sent in home.sent]


def test_links_leave_no_trace_on_the_wire() -> None:
    linked, alone = _home("subject"), _home("subject")
    for home in (linked, alone):
        _live(home, logins=home is linked)
        home.now += 61_000
        home.tell()
    assert linked.persons()
    assert not alone.persons()
    assert len(linked.sent) == len(alone.sent)
    for (topic, payload), (other_topic, other) in zip(_sent(linked), _sent(alone), strict=True):
        assert topic == other_topic
        if "/decision/" in topic:
            one, two = (msgspec.msgpack.decode(p, type=DecisionMade) for p in (payload, other))
            # An event with an account has the same id: only what was chosen, and by which arm, may differ.
            chosen = {"items": (), "score": 0.0, "propensity": 1.0, "arm": ""}
            assert replace(one, **chosen) == replace(two, **chosen)
        else:
            assert payload == other
    said = b" ".join(payload for _, payload in _sent(linked))
    assert all(word not in said for word in (b"ann", b"kin", b"account", b"person\xa0", b"login"))


def test_a_decision_is_said_of_the_subject_that_asked_also_when_another_names_the_person() -> None:
    home = _home("person")
    home.touch("tablet", item="a", account="ann")
    home.now += 1_000
    home.touch("phone", item="a", account="ann")
    assert home.agent.people.person("phone", home.now) == "tablet"
    assert [one.subject for one in home.decisions()] == ["tablet", "phone"]
