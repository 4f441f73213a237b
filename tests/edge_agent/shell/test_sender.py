"""The sender against a real SMTP relay and a real HTTPS gateway: taken, refused, slow, gone; and never in the clear."""

import ssl
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.egress.letter import Letter
from edge_agent.errors import SettingsMalformed
from edge_agent.settings import Push, Settings, Smtp
from edge_agent.settings import load as load_settings
from edge_agent.shell import smtp
from edge_agent.shell.doctor.device import secrets
from edge_agent.shell.pipe import SendTask
from edge_agent.shell.sender import tried
from tests.edge_agent.shell.post_office import HOST, Gateway, Relay, gateway, relay, tls

ADDRESS = "ann@home.example"
TOKEN = "device-token-of-ann"
LETTER = Letter(
    key="0123456789abcdef" * 2, decision="d1", placement="offer", channel="mail", adapter="smtp", subject="ann",
    person="ann", title="Dinner", text="How about soup?\n.\nEnjoy.", made_ms=1_800_000_000_000,
    expires_ms=1_800_000_600_000,
)  # fmt: skip
PUSHED = msgspec.structs.replace(LETTER, adapter="http", channel="alert")


def secret(folder: Path, name: str, text: str, mode: int = 0o600) -> str:
    """A file with a secret in it."""
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    return tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def office(authority: tuple[ssl.SSLContext, str]) -> Iterator[tuple[Relay, int]]:
    with relay(authority[0]) as running:
        yield running


@pytest.fixture
def door(authority: tuple[ssl.SSLContext, str]) -> Iterator[tuple[Gateway, int]]:
    with gateway(authority[0]) as running:
        yield running


def task(folder: Path, ca: str, *, mail: int = 1, push: int = 1, **more: object) -> SendTask:
    """A task for servers on these ports."""
    book = secret(folder, "book.toml", f'ann = "{ADDRESS}"\n')
    tokens = secret(folder, "tokens.toml", f'ann = "{TOKEN}"\n')
    own = {name.removeprefix("smtp_"): value for name, value in more.items() if name.startswith("smtp_")}
    line = Smtp(url=f"smtp://{HOST}:{mail}", ca=ca, sender="home@home.example", addresses_file=book, timeout_s=1.0)
    door = Push(url=f"https://{HOST}:{push}/say", ca=ca, addresses_file=tokens, timeout_s=1.0)
    return SendTask(letters=(), device="home-1", smtp=msgspec.structs.replace(line, **own), push=door)


def test_an_email_arrives_over_starttls(
    tmp_path: Path, office: tuple[Relay, int], authority: tuple[ssl.SSLContext, str]
) -> None:
    books, port = office
    assert tried(LETTER, task(tmp_path, authority[1], mail=port)).what == "sent"
    (message,) = books.taken
    assert message["Subject"] == "Dinner"
    assert message["To"] == ADDRESS
    assert message["Message-ID"] == f"<{LETTER.key}@home-1.edgeward.invalid>"
    assert message.get_payload(decode=True).decode().splitlines() == ["How about soup?", ".", "Enjoy."]  # type: ignore[union-attr]


def test_a_relay_whose_certificate_is_not_trusted_gets_nothing(tmp_path: Path, office: tuple[Relay, int]) -> None:
    books, port = office
    said = tried(LETTER, task(tmp_path, "", mail=port))
    assert said.what == "again"
    assert "not trusted" in said.reason
    assert books.taken == []


def test_nothing_is_said_in_the_clear_unless_the_settings_say_so(tmp_path: Path) -> None:
    with relay() as (books, port):
        said = tried(LETTER, task(tmp_path, "", mail=port))
        assert (said.what, books.taken) == ("again", [])
        assert "in the clear" in said.reason
        assert tried(LETTER, task(tmp_path, "", mail=port, smtp_plain=True)).what == "sent"


@pytest.mark.parametrize(
    ("recipient", "data", "outcome"),
    [
        ("550 no such user ann@home.example", "250 taken", "refused"),
        ("450 mailbox busy", "250 taken", "again"),
        ("250 OK", "554 spam", "refused"),
        ("250 OK", "452 full", "again"),
    ],
)
def test_a_relay_that_refuses_is_believed_and_one_that_cannot_now_is_asked_again(
    tmp_path: Path,
    office: tuple[Relay, int],
    authority: tuple[ssl.SSLContext, str],
    recipient: str,
    data: str,
    outcome: str,
) -> None:
    books, port = office
    books.recipient, books.data = recipient, data
    said = tried(LETTER, task(tmp_path, authority[1], mail=port))
    assert said.what == outcome
    assert ADDRESS not in said.reason
    assert books.taken == []


def test_a_relay_that_hangs_up_before_it_answers_may_have_taken_it_and_shows_it_once(
    tmp_path: Path, office: tuple[Relay, int], authority: tuple[ssl.SSLContext, str]
) -> None:
    books, port = office
    books.hangs_up = True
    assert tried(LETTER, task(tmp_path, authority[1], mail=port)).what == "again"
    books.hangs_up = False
    assert tried(LETTER, task(tmp_path, authority[1], mail=port)).what == "sent"
    assert len(books.taken) == 2
    assert len(books.shown) == 1
    assert len({str(message["Date"]) for message in books.taken}) == 1


def test_a_slow_relay_costs_no_more_than_its_silence(
    tmp_path: Path, office: tuple[Relay, int], authority: tuple[ssl.SSLContext, str]
) -> None:
    books, port = office
    books.slow_s = 3.0
    assert tried(LETTER, task(tmp_path, authority[1], mail=port)).what == "again"


def test_user_and_password_are_said_over_tls_only(tmp_path: Path, authority: tuple[ssl.SSLContext, str]) -> None:
    with relay(authority[0], login=("home", "right")) as (books, port):
        for word, outcome in (("right", "sent"), ("wrong", "again")):
            file = secret(tmp_path, "password", f"{word}\n")
            given = task(tmp_path, authority[1], mail=port, smtp_user="home", smtp_password_file=file)
            assert tried(LETTER, given).what == outcome
    assert len(books.taken) == 1


def test_no_relay_is_there(tmp_path: Path) -> None:
    assert tried(LETTER, task(tmp_path, "", mail=1)).what == "again"
    assert tried(PUSHED, task(tmp_path, "", push=1)).what == "again"


def test_without_settings_nothing_leaves() -> None:
    off = SendTask(letters=(), device="home-1", smtp=Smtp(), push=Push())
    assert tried(LETTER, off).what == "refused"
    assert tried(PUSHED, off).what == "refused"


def test_secrets_that_others_can_read_are_not_used(
    tmp_path: Path, office: tuple[Relay, int], authority: tuple[ssl.SSLContext, str]
) -> None:
    given = task(tmp_path, authority[1], mail=office[1])
    (tmp_path / "book.toml").chmod(0o644)
    said = tried(LETTER, given)
    assert (said.what, "AGT404" in said.reason, ADDRESS in said.reason) == ("again", True, False)
    (tmp_path / "book.toml").chmod(0o600)
    (tmp_path / "book.toml").write_text(f'ann = "{ADDRESS}')
    assert ADDRESS not in tried(LETTER, given).reason
    assert (
        tried(msgspec.structs.replace(LETTER, subject="bea", person="bea"), task(tmp_path, authority[1])).what
        == "refused"
    )


def test_doctor_says_so_before_a_letter_waits_for_nothing(tmp_path: Path) -> None:
    book = secret(tmp_path, "book.toml", "")
    line = Smtp(url=f"smtp://{HOST}:1", plain=True, sender="a@b.example", addresses_file=book)
    settings = Settings(device="home-1", state_dir=str(tmp_path), smtp=line)
    assert [check.verdict for check in secrets(settings)] == ["ok"]
    Path(book).chmod(0o640)
    assert [check.verdict for check in secrets(settings)] == ["fail"]


# ---- push ----------------------------------------------------------------------------------------------------


def test_a_push_arrives_with_its_key(
    tmp_path: Path, door: tuple[Gateway, int], authority: tuple[ssl.SSLContext, str]
) -> None:
    books, port = door
    given = task(tmp_path, authority[1], push=port)
    bearer = secret(tmp_path, "bearer", "s3cret\n")
    given = msgspec.structs.replace(given, push=msgspec.structs.replace(given.push, token_file=bearer))
    for _ in range(2):
        assert tried(PUSHED, given).what == "sent"
    headers, body = books.asked[0]
    assert headers["Authorization"] == "Bearer s3cret"
    assert body == {
        "id": PUSHED.key, "to": TOKEN, "title": "Dinner", "text": LETTER.text, "channel": "alert", "placement": "offer",
        "expires_ms": PUSHED.expires_ms,
    }  # fmt: skip
    assert len(books.shown) == 1


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "sent"), (202, "sent"), (301, "refused"), (400, "refused"), (404, "refused"), (409, "again"),
     (422, "refused"), (429, "again"), (500, "again"), (503, "again")],
)  # fmt: skip
def test_a_status_says_whether_to_try_again(
    tmp_path: Path, door: tuple[Gateway, int], authority: tuple[ssl.SSLContext, str], status: int, outcome: str
) -> None:
    books, port = door
    books.status, books.headers = status, {"Retry-After": "120", "Location": f"https://{HOST}:{port}/other"}
    said = tried(PUSHED, task(tmp_path, authority[1], push=port))
    assert said.what == outcome
    assert said.wait_s == (120.0 if outcome == "again" else 0.0)
    assert len(books.asked) == 1


def test_a_gateway_that_hangs_up_or_is_slow_or_not_trusted_is_asked_again(
    tmp_path: Path, door: tuple[Gateway, int], authority: tuple[ssl.SSLContext, str]
) -> None:
    books, port = door
    books.hangs_up = True
    assert tried(PUSHED, task(tmp_path, authority[1], push=port)).what == "again"
    books.hangs_up, books.slow_s = False, 2.0
    assert tried(PUSHED, task(tmp_path, authority[1], push=port)).what == "again"
    taken = len(books.asked)
    said = tried(PUSHED, task(tmp_path, "", push=port))
    assert (said.what, "not trusted" in said.reason) == ("again", True)
    assert len(books.asked) == taken


# ---- what goes over the wire ---------------------------------------------------------------------------------


@given(title=st.text(max_size=120), text=st.text(max_size=300), address=st.text(max_size=40))
def test_whatever_it_says_an_email_has_the_headers_that_we_give_it_and_no_others(
    title: str, text: str, address: str
) -> None:
    line = Smtp(url="smtp://relay", sender="home@home.example", addresses_file="x")
    one = msgspec.structs.replace(LETTER, title=title, text=text)
    try:
        raw = smtp.written(one, line, "home-1", address).as_bytes(policy=default.clone(linesep="\r\n"))
    except (ValueError, UnicodeError, LookupError):
        return  # refused
    read = message_from_bytes(raw, policy=default)
    names = {"from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version"}
    assert {name.lower() for name in read} - {"content-type", "content-transfer-encoding"} == names


def test_settings_refuse_to_speak_in_the_clear_to_another_machine(tmp_path: Path) -> None:
    book = secret(tmp_path, "book.toml", "")
    settings = tmp_path / "agent.toml"
    start = f'device = "d"\nstate_dir = "{tmp_path}"\n'
    for table in (
        f'[smtp]\nurl = "smtp://relay.example:25"\nplain = true\nsender = "a@b"\naddresses_file = "{book}"',
        f'[push]\nurl = "http://gateway.example/x"\naddresses_file = "{book}"',
        '[smtp]\nurl = "smtps://relay.example"',
        '[push]\nurl = "https://gateway.example/x"',
        f'[push]\nurl = "https://gateway.example:99999/x"\naddresses_file = "{book}"',
    ):
        settings.write_text(start + table)
        with pytest.raises(SettingsMalformed):
            load_settings(settings, {})
    settings.write_text(f'{start}[push]\nurl = "http://127.0.0.1:8080/x"\naddresses_file = "{book}"')
    assert load_settings(settings, {}).push.url
