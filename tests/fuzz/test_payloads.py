"""Whatever comes over MQTT, the agent goes on, and each message is counted exactly once."""

from collections import Counter

import pytest

from tests.fuzz.payloads import CODECS, messages, run

COUNT = 6_000


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_payloads_are_rejected_or_taken_and_counted_once(seed: int) -> None:
    books = run(seed, COUNT)
    assert books.crashes == []
    assert books.miscounted == []
    assert books.taken + books.rejected + books.other == books.sent == COUNT


def test_the_damage_reaches_every_way_in_and_out() -> None:
    """A fuzzer whose payloads are all refused at the first byte would prove nothing."""
    books = run(3, COUNT)
    assert books.taken > COUNT / 10
    assert books.rejected > COUNT / 5
    assert books.other > 0
    assert {"rejected.AGT202", "rejected.AGT203", "rejected.AGT204", "rejected.AGT205"} <= set(books.by_code)
    assert min(Counter(one.source for one in messages(3, COUNT)).values()) == COUNT // len(CODECS)


def test_a_seed_gives_the_same_messages_again() -> None:
    assert messages(5, 200) == messages(5, 200)
