"""Letters: entered before they leave, tried until they are taken, dropped when nobody wants them any more."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.egress import ledger
from edge_agent.egress import letter as letters
from edge_agent.happenings import Tick
from tests.edge_agent.reach_house import DAY, HOUR, MINUTE, ReachHouse
from tests.edge_agent.test_reach import MAIL, PUSH, REASON, SAYS, house

BY_MAIL = f'channels = ["mail"]\n{SAYS}'
BY_PUSH = f'channels = ["alert"]\n{SAYS}'


def entered(home: ReachHouse, kind: str) -> list[ledger.Row]:
    """Committed rows of a kind in the ledger."""
    rows = [ledger.unpack(value) for (room, _), (value, _) in sorted(home.rows.items()) if room == "ledger"]
    return [row for row in rows if row.kind == kind]


def test_a_letter_is_entered_in_the_transaction_before_it_is_handed_over() -> None:
    home = house(BY_MAIL, MAIL)
    assert home.say("touch", "ann", item="x") == []
    (one,) = home.posts
    assert (one.title, one.text, one.subject) == ("Dinner", "How about soup?", "ann")
    (row,) = entered(home, "email")
    assert (row.seq, row.destination, row.purposes) == (one.entered, "smtp", ("letters",))
    assert row.bytes == len(letters.content(one))
    home.answer("sent")
    assert home.rows_of("letter") == 0
    assert home.notes(one.decision)[-1][1] == "mail: sent"


def test_a_letter_that_was_out_at_a_crash_goes_again_under_the_same_key() -> None:
    home = house(BY_MAIL, MAIL)
    home.say("touch", "ann", item="x")
    (first,) = home.posts
    home.restart()
    home.wait(1_000)
    (second,) = home.posts
    assert second.key == first.key
    assert letters.content(second) == letters.content(first)
    assert len(entered(home, "email")) == 2  # it may have left twice


def test_it_is_tried_ever_later_with_a_jitter_of_its_own_until_it_expires() -> None:
    home = house(BY_MAIL, MAIL, expiry_s=7_200)
    home.say("touch", "ann", item="x")
    times = [home.now]
    for _ in range(3_600):
        if home.posts:
            times.append(home.now)
            home.answer("again", reason="not now")
        home.wait(4_000)
    gaps = [later - before for before, later in pairwise(times[1:])]
    for tries, gap in enumerate(gaps, start=1):
        step = min(HOUR, 15_000 << tries)
        assert 0.5 * step <= gap <= 1.5 * step + 4_000  # it is looked at every four seconds here
    assert 6 <= len(times) <= 12
    assert home.rows_of("letter") == 0
    assert home.agent.counters["letters.email.expired"] == 1


def test_a_letter_heeds_the_wish_to_wait() -> None:
    home = house(BY_PUSH, PUSH)
    home.say("touch", "ann", item="x")
    home.answer("again", reason="429", wait_s=600.0)
    home.wait(9 * MINUTE, step=MINUTE)
    assert home.posts == []
    home.wait(2 * MINUTE)
    assert len(home.posts) == 1


def test_a_refused_letter_is_not_tried_again() -> None:
    home = house(BY_MAIL, MAIL)
    home.say("touch", "ann", item="x")
    home.answer("refused", reason="550")
    home.wait(HOUR, step=MINUTE)
    assert home.posts == []
    assert home.agent.counters["letters.email.refused"] == 1


def test_consent_that_was_withdrawn_while_a_letter_waited_stops_it() -> None:
    home = house(BY_MAIL, MAIL)
    home.say("touch", "ann", item="x")
    home.answer("again")
    home.now += 1
    home.consent("ann", "letters", granted=False)
    home.wait(10 * MINUTE)
    assert home.posts == []
    assert home.agent.counters["letters.email.consent"] == 1


def test_without_consent_for_letters_the_channel_is_shut() -> None:
    home = house(BY_MAIL, MAIL)
    home.now += 1
    home.consent("ann", "letters", granted=False)
    home.say("touch", "ann", item="x")
    assert home.posts == []


def test_a_spent_budget_holds_letters_until_the_next_day() -> None:
    home = house(BY_MAIL, MAIL, expiry_s=2 * 86_400)
    home.agent.gate.ledger.enter("email", size=99_990, sha256="", now_ms=home.now)
    home.say("touch", "ann", item="x")
    assert home.posts == []
    home.wait(DAY // 2 + MINUTE)
    assert len(home.posts) == 1


def test_a_letter_that_waits_is_dropped_when_its_message_is_taken_back() -> None:
    home = house(f"{BY_MAIL}{REASON}", MAIL)
    home.agent.gate.ledger.enter("email", size=99_990, sha256="", now_ms=home.now)  # so it has not left yet
    home.say("touch", "ann", item="x")
    home.say("room", open_window=False)
    home.wait(2 * DAY)
    assert home.posts == []
    assert home.rows_of("letter") == 0


def test_a_push_that_was_sent_is_taken_back_and_an_email_cannot_be() -> None:
    push, mail = house(f"{BY_PUSH}{REASON}", PUSH), house(f"{BY_MAIL}{REASON}", MAIL)
    for home in (push, mail):
        home.say("touch", "ann", item="x")
    (first,) = push.posts
    for home in (push, mail):
        home.answer("sent")
        home.say("room", open_window=False)
        home.wait(1_000)
    (back,) = push.posts
    assert (back.retracts, back.title) == (first.key, "")
    assert back.key != first.key
    assert mail.posts == []
    newest = next(iter(mail.shelves.values())).id
    assert "cannot be taken back" in mail.notes(newest)[-1][1]


def test_letters_out_when_taken_back_are_not_tried_again() -> None:
    home = house(f"{BY_PUSH}{REASON}", PUSH)
    home.say("touch", "ann", item="x")
    (first,) = home.posts
    home.say("room", open_window=False)
    home.answer("again", reason="the gateway hung up")
    home.wait(HOUR, step=MINUTE)
    assert {one.retracts for one in home.posts} == {first.key}  # it may have arrived, so it is taken back


def test_the_text_holds_only_fields_that_the_profile_lists() -> None:
    home = house('channels = ["mail"]\ntitle = "{item}"\ntext = "for {placement}: {items}"', MAIL)
    home.say("touch", "ann", item="secret", zone="Europe/Paris")
    (one,) = home.posts
    assert (one.title, one.text) == ("soup", "for offer: soup")


@given(
    st.integers(0, 40), st.integers(0, 2**40), st.floats(0, 1e9), st.text("0123456789abcdef", min_size=32, max_size=32)
)
def test_the_next_try_is_never_now_and_never_much_later_than_an_hour(
    tries: int, now: int, asked_s: float, key: str
) -> None:
    one = msgspec.structs.replace(SAMPLE, tries=tries, key=key)
    wait_ms = letters.next_try_ms(one, now, asked_s) - now
    assert 7_000 <= wait_ms <= 1.5 * HOUR
    assert letters.unpack(letters.pack(one)) == one


SAMPLE = letters.Letter(
    key="0" * 32, decision="d", placement="p", channel="c", adapter="smtp", subject="s", person="s", title="t",
    text="x", made_ms=1, expires_ms=2,
)  # fmt: skip


def test_more_letters_than_are_kept_cost_the_least_important_ones() -> None:
    home = house(BY_MAIL, MAIL, expiry_s=86_400)
    home.agent.gate.ledger.enter("email", size=99_990, sha256="", now_ms=home.now)
    for n in range(300):
        home.consent(f"p{n}", "personalise", "letters")
        home.say("touch", f"p{n}", item="x")
    assert home.rows_of("letter") == 256
    home.restart()
    home.tell(Tick())
    assert home.rows_of("letter") == 256
