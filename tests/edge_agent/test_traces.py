"""What of stored rows is about somebody: all of it goes, and nothing of anybody else."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.decide.bandit.pending import Pending
from edge_agent.traces import OWN, Traces
from edge_agent.withheld import Withheld

NAMES = st.text("abcdefgh-_.0123456789", min_size=2, max_size=12)
PACK = msgspec.msgpack.encode


@given(st.sampled_from(sorted(OWN)), NAMES, NAMES, st.binary(max_size=50))
def test_a_row_of_ones_own_goes_and_a_row_of_another_stays(room: str, ann: str, other: str, value: bytes) -> None:
    traces = Traces([ann])
    for key in (ann, f"placement\x00{ann}"):
        assert traces.after(room, key, value) is None
    if other != ann:
        for key in (other, f"{ann}\x00{other}", f"jo{ann}", f"{ann}2"):
            assert traces.after(room, key, value) == value, (
                "a placement may be named like a person, a name hold another"
            )


@given(NAMES, st.lists(NAMES, unique=True), st.binary(max_size=80))
def test_rows_of_many_lose_one_name_and_keep_the_others(ann: str, others: list[str], noise: bytes) -> None:
    traces, rest = Traces([ann]), [one for one in others if one != ann]
    present = traces.after("meta", "present", PACK(dict.fromkeys([*rest, ann], 7)))
    assert msgspec.msgpack.decode(present or b"") == dict.fromkeys(rest, 7)
    queue = traces.after("experiment", "queue\x00e\x00p\x00000000001", PACK([ann, *rest, ann]))
    assert msgspec.msgpack.decode(queue or b"") == ["", *rest, ""], "places are counted, so they stay"
    told = [Withheld("cap", "", f"e-{one}", one, 1) for one in [*rest, ann]]
    held = traces.after("withheld", "shelf", PACK(told))
    assert [one[3] for one in msgspec.msgpack.decode(held or b"")] == rest
    for room, key in (
        ("meta", "present"),
        ("identity", "seen\x00x"),
        ("withheld", "p"),
        ("bandit", "p\x00pending\x001"),
    ):
        assert isinstance(traces.after(room, key, noise), bytes), "what cannot be read is no reason to stop"


def test_a_bandits_queue_forgets_their_decisions_and_counts_right() -> None:
    rows: dict[str, bytes] = {}
    queue = Pending(rows.get)
    for number in range(5):
        queue.add(f"d{number}", 1_000 + number, ("a", "b"))
    key = "shelf\x00pending\x00"
    rows = {f"{key}1": queue.pack("1"), key: queue.pack("")}
    traces = Traces(["ann"])
    traces.leads |= {"d1", "d3"}
    chunk = traces.after("bandit", f"{key}1", rows[f"{key}1"]) or b""
    assert traces.after("bandit", key, rows[key]) == rows[key], "the head is put right afterwards"
    held = {"1": chunk, "": traces.head(key, rows[key])}
    left = Pending(held.get)
    assert left.count == 3
    assert [one.decision for one in left.due(9_999)] == ["d0", "d2", "d4"]
    assert left.count == 0


def test_others_events_and_decisions_stay_without_the_name() -> None:
    traces = Traces(["ann"])
    made = PACK({"subject": "bert", "fields": {"peer": "ann", "item": "annual"}})
    assert msgspec.msgpack.decode(traces.decision(made)) == {
        "subject": "bert",
        "fields": {"peer": "", "item": "annual"},
    }
    event = PACK({"type": "recorded", "subject": "bert", "fields": {"peer": "ann"}})
    assert msgspec.msgpack.decode(traces.journal(event) or b"")["fields"] == {"peer": ""}
    learned = PACK({"type": "learned", "personal": {"ann": b"1", "bert": b"2"}})
    assert msgspec.msgpack.decode(traces.journal(learned) or b"")["personal"] == {"bert": b"2"}
    word = PACK({"type": "message", "topic": "edgeward/1/home/consent/ann", "payload": b"{}"})
    assert traces.journal(word) is None
    inside = PACK({"type": "message", "topic": "t", "payload": msgspec.json.encode({"who": "ann"})})
    assert traces.journal(inside) is None


def test_what_waits_is_found_by_topic_and_by_content_in_either_codec() -> None:
    traces = Traces(["ann"])
    assert traces.message("edgeward/1/d/consent/ann", b"")
    assert traces.message("edgeward/1/d/decision/p", PACK({"subject": "ann"}))
    assert traces.message("edgeward/1/d/decision/p", b'{"subject": "ann"}')
    assert not traces.message("edgeward/1/ann2/decision/p", b'{"subject": "joann"}')
    assert traces.within("touch:visit-ann-7")
    assert not traces.within("touch:visit-annual-7")
