"""What arrived against a ledger: the ledger is examined first, an empty record proves nothing, a time can be given."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from firmware_configs import ledger, ledger_evidence
from firmware_configs.cli import main
from firmware_configs.errors import EdgeError
from firmware_configs.ledger_evidence import Evidence
from firmware_configs.ledger_record import Received, read_record, reconcile
from firmware_configs.moments import moment

EXAMPLES = Path(__file__).parents[2] / "examples" / "officer"
BOOKS, KEY, RECORD = EXAMPLES / "home-1.ledger", EXAMPLES / "home-1.pub", EXAMPLES / "record.jsonl"
ROWS = [ledger.unpack(one) for one in ledger_evidence.read(BOOKS).rows]


def _reconcile(books: Path, record: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["ledger", "reconcile", str(books), "--record", str(record), *words])


def _changed(folder: Path, change: Callable[[Evidence], Evidence]) -> Path:
    path = folder / "changed.ledger"
    path.write_bytes(msgspec.msgpack.encode(change(ledger_evidence.read(BOOKS))))
    return path


def test_a_ledger_that_does_not_fit_is_not_reconciled_with_exit_code_0(tmp_path: Path) -> None:
    """An entry put in so that what arrived past the ledger is found in it."""
    extra = msgspec.structs.replace(ROWS[-1], seq=23, sha256="ab" * 32, bytes=999, previous="cd" * 32)
    books = _changed(tmp_path, lambda one: msgspec.structs.replace(one, rows=(*one.rows, ledger.pack(extra))))
    record = tmp_path / "record.jsonl"
    record.write_text(json.dumps({"sha256": "ab" * 32, "bytes": 999}))
    done = _reconcile(books, record)
    assert done.exit_code == 1
    assert "entry 23: the one does not follow from the other" in done.stdout
    assert "0 undeclared messages, 0 undeclared bytes" in done.stdout
    told = json.loads(_reconcile(books, record, "--json").stdout)
    assert [flaw["where"] for flaw in told["flaws"]] == ["entry 22"]


def test_with_a_key_a_ledger_without_a_signature_is_not_reconciled_with_exit_code_0(tmp_path: Path) -> None:
    books = _changed(tmp_path, lambda one: msgspec.structs.replace(one, seals=()))
    assert _reconcile(BOOKS, RECORD, "--key", str(KEY)).exit_code == 0
    assert _reconcile(books, RECORD).exit_code == 0
    done = _reconcile(books, RECORD, "--key", str(KEY))
    assert done.exit_code == 1
    assert "nothing is signed yet" in done.stdout


def test_an_entry_that_cannot_be_read_is_a_flaw_and_what_can_be_is_compared(tmp_path: Path) -> None:
    books = _changed(tmp_path, lambda one: msgspec.structs.replace(one, rows=(*one.rows, b"\xc1")))
    done = _reconcile(books, RECORD)
    assert done.exit_code == 1
    assert "row 23 of the file: it is no ledger row" in done.stdout
    assert "16 messages arrived that were entered before" in done.stdout
    out = tmp_path / "proof.json"
    done = CliRunner().invoke(main, ["ledger", "prove", str(books), "7", "--out", str(out)])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("empty", ["", "\n \n"])
def test_an_empty_record_is_refused(tmp_path: Path, empty: str) -> None:
    record = tmp_path / "record.jsonl"
    record.write_text(empty)
    done = _reconcile(BOOKS, record)
    assert done.exit_code == 2
    assert "record.jsonl is empty" in done.output
    assert "edge-coordinator listen" in done.output


def test_entries_of_another_time_are_not_missed_in_the_record() -> None:
    times = sorted(row.time_ms for row in ROWS)
    middle = times[len(times) // 2]
    whole = json.loads(_reconcile(BOOKS, RECORD, "--json").stdout)
    at = [ledger_at(middle), ledger_at(middle)]
    early = json.loads(_reconcile(BOOKS, RECORD, "--until", at[0], "--json").stdout)
    late = json.loads(_reconcile(BOOKS, RECORD, "--since", at[1], "--json").stdout)
    assert whole["unheard"] == 6
    assert early["unheard"] + late["unheard"] == 6
    assert {one["matched"] for one in (whole, early, late)} == {16}
    assert json.loads(_reconcile(BOOKS, RECORD, "--until", "2001-01-01", "--json").stdout)["unheard"] == 0


def ledger_at(time_ms: int) -> str:
    """A time as the command takes it."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time_ms / 1_000, UTC).isoformat(timespec="milliseconds")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--since", "yesterday"), "--since 'yesterday' is no time"),
        (("--until", "soon"), "--until 'soon' is no time"),
        (("--since", "2026-11-02", "--until", "2026-11-01"), "--until is not after --since"),
    ],
)
def test_a_time_that_cannot_be_is_refused(words: tuple[str, ...], said: str) -> None:
    done = _reconcile(BOOKS, RECORD, *words)
    assert done.exit_code == 2
    assert said in done.output


def test_a_destination_that_the_record_has_nothing_of_is_named(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    record.write_text(json.dumps({"sha256": "ab" * 32, "bytes": 1, "destination": "superlink"}))
    done = _reconcile(BOOKS, record)
    assert done.exit_code == 1
    assert "mqtt was not compared: the record has nothing of it (22 entries)" in done.stdout
    assert "1 byte on superlink" in done.stdout
    assert "1 undeclared message, 1 undeclared byte" in done.stdout


@given(st.lists(st.sampled_from(range(len(ROWS))), min_size=1), st.integers(0, 3))
def test_what_arrived_is_either_entered_or_told(places: list[int], foreign: int) -> None:
    own = [Received(sha256=ROWS[n].sha256, bytes=ROWS[n].bytes) for n in places]
    others = [Received(sha256=f"{n:064x}", bytes=n) for n in range(foreign)]
    found = reconcile(ledger_evidence.read(BOOKS), own + others)
    assert (found.matched, len(found.undeclared)) == (len(own), foreign)
    distinct = {ROWS[n].sha256 for n in places}
    assert found.unheard == sum(row.sha256 not in distinct for row in ROWS)
    assert found.not_compared == {}


@given(st.binary(max_size=200))
def test_a_record_is_read_or_refused_with_its_line(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(raw)
    try:
        assert len(read_record(path)) <= len(raw.splitlines())
    except EdgeError as refused:
        assert f"{path}:" in refused.what


@given(st.text(max_size=30) | st.from_regex(r"\d{1,7}(\.\d)?[mhdw]?", fullmatch=True))
def test_any_text_is_a_moment_or_a_refusal_that_names_its_option(text: str) -> None:
    try:
        assert moment(text, 1_000_000, "--until") >= 0
    except EdgeError as refused:
        assert refused.what.startswith("--until ")
        assert "7d" in refused.hint
