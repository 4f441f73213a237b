"""The ledger as evidence: what was changed is found and located, what is proven holds, what is foreign is refused."""

import contextlib
import hashlib
import json
import shutil
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.shell.children import Children
from edge_agent.shell.keys import make
from edge_agent.shell.pipe import Ended
from edge_agent.shell.sealer import seal
from edge_agent.shell.seals import Seals
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from firmware_configs import ledger, ledger_evidence, ledger_record, ledger_reserve
from firmware_configs.cli import main
from firmware_configs.errors import EdgeError
from firmware_configs.ledger import DAY_MS, GENESIS, Proof, Row
from firmware_configs.ledger_evidence import Evidence

DAY = 20_000


def _rows(days: list[int], kind: str = "decision") -> list[bytes]:
    """A chained row for each day given."""
    packed, previous = [], GENESIS
    for seq, day in enumerate(days, start=1):
        row = Row(
            seq=seq,
            kind=kind,
            destination="mqtt",
            bytes=10 + seq,
            sha256=hashlib.sha256(str(seq).encode()).hexdigest(),
            purposes=("comfort",),
            profile="p",
            privacy="",
            time_ms=day * DAY_MS + seq,
            previous=previous,
        )
        packed.append(ledger.pack(row))
        previous = row.hash()
    return packed


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device's state folder with three days of rows, two of them sealed."""
    folder = tmp_path_factory.mktemp("lived") / "device"
    make(folder, force=False)
    store = Store(folder / "edgeward.db", 64)
    writes = Writes()
    for seq, one in enumerate(_rows([DAY] * 5 + [DAY + 1] * 7 + [DAY + 2] * 2), start=1):
        writes.ledger[seq] = one
    assert store.commit(writes, durable=True)
    store.close()
    assert len(seal(folder, "home-1", folder / "node.key", (DAY + 2) * DAY_MS + 5)) == 2
    return folder


@pytest.fixture
def device(lived: Path, tmp_path: Path) -> Path:
    """A copy, to be tampered with."""
    return Path(shutil.copytree(lived, tmp_path / "device"))


def _run(*words: object) -> Result:
    return CliRunner().invoke(main, ["ledger", *(str(word) for word in words)])


def test_a_whole_ledger_fits_and_says_how_far_it_is_signed(device: Path) -> None:
    done = _run("verify", device, "--key", device / "node.pub", "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (told["entries"], told["days_sealed"], told["signed_through"]) == (14, 2, 12)
    assert told["flaws"] == []


def test_sealing_again_seals_nothing_and_the_next_day_follows(device: Path) -> None:
    assert seal(device, "home-1", device / "node.key", (DAY + 2) * DAY_MS + 9) == []
    (third,) = seal(device, "home-1", device / "node.key", (DAY + 3) * DAY_MS)
    assert (third.first, third.last) == (13, 14)
    assert _run("verify", device, "--key", device / "node.pub").exit_code == 0


def test_the_agent_sends_its_sealer_when_a_day_is_over_and_tells_the_newest_seal(device: Path) -> None:
    said: list[str] = []
    children = Children(lambda _kind, line: said.append(line))
    key = str(device / "node.key")
    seals = Seals(device, "home-1", key, children, lambda _level, _code, text: said.append(text))
    before, until = seals.newest, time.monotonic() + 60
    while (seals.newest == before or children.running) and time.monotonic() < until:
        seals.tend((DAY + 3) * DAY_MS, time.monotonic())
        for child, word in children.listen(time.monotonic()):
            assert child.kind == "sealer"
            if isinstance(word, Ended):
                seals.ended(word.code, word.reason)
        time.sleep(0.05)
    newest = msgspec.msgpack.decode(seals.newest, type=ledger.Seal)
    assert (newest.day, newest.first, newest.last) == (DAY + 2, 13, 14), said
    assert ledger_evidence.fits(newest, ledger_evidence.read_key(device / "node.pub"))
    seals.tend((DAY + 3) * DAY_MS, time.monotonic() + 9_999)
    assert not children.running  # the day is sealed: nobody is sent


def test_a_day_that_cannot_be_sealed_is_said_and_tried_again_later(device: Path) -> None:
    said: list[str] = []
    children = Children(lambda _kind, line: said.append(line))
    seals = Seals(device, "home-1", str(device / "gone.key"), children, lambda _l, code, _t: said.append(code))
    until = time.monotonic() + 60
    while (not said or children.running) and time.monotonic() < until:
        seals.tend((DAY + 3) * DAY_MS, 0.0)
        for _, word in children.listen(0.0):
            if isinstance(word, Ended):
                seals.ended(word.code, word.reason)
        time.sleep(0.05)
    assert said == ["AGT307"]
    seals.tend((DAY + 3) * DAY_MS, 1.0)
    assert not children.running


def _tampered(evidence: Evidence, place: int, at: int) -> Evidence:
    rows = list(evidence.rows)
    changed = bytearray(rows[place])
    changed[at % len(changed)] ^= 1
    rows[place] = bytes(changed)
    return msgspec.structs.replace(evidence, rows=tuple(rows))


@given(place=st.integers(0, 13), at=st.integers(0, 400))
def test_one_changed_bit_is_found_and_located(shared: tuple[Evidence, str], place: int, at: int) -> None:
    evidence, head = shared
    flaws = ledger_evidence.examine(_tampered(evidence, place, at), head=head).flaws
    assert flaws
    near = {f"entry {seq}" for seq in (place, place + 1, place + 2)} | {f"row {place + 1} of the file", "head"}
    assert {flaw.where for flaw in flaws if not flaw.where.startswith("seal")} & near


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evidence, str]:
    folder = tmp_path_factory.mktemp("device")
    make(folder, force=False)
    rows = _rows([DAY] * 5 + [DAY + 1] * 7 + [DAY + 2] * 2)
    evidence = Evidence(device="home-1", rows=tuple(rows))
    seals = tuple(ledger_evidence.sealed(evidence, "home-1", DAY + 2, 0))
    return msgspec.structs.replace(evidence, seals=seals), ledger.unpack(rows[-1]).hash()


@given(gone=st.integers(0, 13))
def test_a_missing_entry_is_found(shared: tuple[Evidence, str], gone: int) -> None:
    evidence, head = shared
    rows = tuple(one for n, one in enumerate(evidence.rows) if n != gone)
    assert ledger_evidence.examine(msgspec.structs.replace(evidence, rows=rows), head=head).flaws


def test_a_ledger_that_was_written_anew_does_not_fit_its_seals(device: Path) -> None:
    evidence = ledger_evidence.read(device)
    forged = msgspec.structs.replace(evidence, rows=tuple(_rows([DAY] * 5 + [DAY + 1] * 7 + [DAY + 2] * 2, "status")))
    found = ledger_evidence.examine(forged, ledger_evidence.read_key(device / "node.pub"))
    assert {flaw.where for flaw in found.flaws} == {"seal of day 2024-10-04", "seal of day 2024-10-05"}
    resealed = ledger_evidence.sealed(msgspec.structs.replace(forged, seals=()), "home-1", DAY + 2, 0)
    unsigned = msgspec.structs.replace(forged, seals=tuple(resealed))
    flaws = ledger_evidence.examine(unsigned, ledger_evidence.read_key(device / "node.pub")).flaws
    assert {flaw.what for flaw in flaws} == {"the signature is not this device's"}


def test_a_seal_of_another_device_is_not_this_one_s(device: Path, tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    path = tmp_path / "other.pub"
    path.write_bytes(other.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH))
    done = _run("verify", device, "--key", path)
    assert done.exit_code == 1
    assert "not this device's" in done.stdout


def test_a_broken_chain_is_not_sealed(device: Path) -> None:
    evidence = ledger_evidence.read(device)
    store = Store(device / "edgeward.db", 64)
    writes = Writes()
    writes.ledger[13] = _tampered(evidence, 12, 60).rows[12]
    assert store.commit(writes, durable=True)
    store.close()
    with pytest.raises(EdgeError) as caught:
        seal(device, "home-1", device / "node.key", (DAY + 3) * DAY_MS)
    assert caught.value.code == "AGT307"


@given(st.integers(1, 40), st.data())
def test_a_proof_holds_for_its_row_and_for_no_other(count: int, data: st.DataObject) -> None:
    rows = _rows([DAY] * count)
    place = data.draw(st.integers(0, count - 1))
    (one,) = ledger_evidence.sealed(Evidence(device="d", rows=tuple(rows)), "d", DAY + 1, 0)
    proof = Proof(row=rows[place], path=ledger.path(rows, place), seal=one)
    assert ledger.proves(proof)
    assert len(proof.path) <= max(1, count - 1).bit_length()
    for other in {0, count - 1, (place + 1) % count} - {place}:
        assert not ledger.proves(msgspec.structs.replace(proof, row=rows[other]))


@given(st.lists(st.integers(0, 6), max_size=30), st.integers(0, 8))
def test_seals_cover_the_ledger_without_gaps_also_where_the_clock_went_back(days: list[int], today: int) -> None:
    rows = tuple(_rows(days))
    seals = ledger_evidence.sealed(Evidence(device="d", rows=rows), "d", today, 0)
    through = 0
    for one in seals:
        assert one.first == through + 1
        through = one.last
    assert [one.day for one in seals] == sorted({one.day for one in seals})
    assert all(day >= today for day in days[through : through + 1])
    whole = Evidence(device="d", rows=rows, seals=tuple(seals))
    assert ledger_evidence.examine(whole).flaws == ()


def test_the_root_is_that_of_rfc_9162() -> None:
    """Leaves and nodes as in section 2.1.1, worked out by hand for three leaves."""
    leaf = [hashlib.sha256(b"\x00" + one).digest() for one in (b"a", b"b", b"c")]
    left = hashlib.sha256(b"\x01" + leaf[0] + leaf[1]).digest()
    assert ledger.root([b"a", b"b", b"c"]) == hashlib.sha256(b"\x01" + left + leaf[2]).hexdigest()
    assert ledger.root([]) == hashlib.sha256(b"").hexdigest()


def test_a_proof_is_checked_without_the_device(device: Path, tmp_path: Path) -> None:
    out = tmp_path / "proof.json"
    assert _run("prove", device, 7, "--out", out).exit_code == 0
    done = _run("check-proof", out, "--key", device / "node.pub")
    assert done.exit_code == 0
    assert "entry 7" in done.stdout
    assert "signed by that key" in done.stdout
    forged = json.loads(out.read_text())
    forged["seal"]["root"] = "0" * 64
    out.write_text(json.dumps(forged))
    assert _run("check-proof", out).exit_code == 1
    assert _run("prove", device, 14, "--out", out).exit_code == 2  # its day is not over


def test_an_export_says_the_same_as_the_device(device: Path, tmp_path: Path) -> None:
    from edge_agent.commands.group import main as agent

    out = tmp_path / "home-1.ledger"
    done = CliRunner().invoke(agent, ["ledger", "export", "--state-dir", str(device), "--out", str(out)])
    assert done.exit_code == 0, done.output
    own = json.loads(_run("verify", device, "--key", device / "node.pub", "--json").stdout)
    assert json.loads(_run("verify", out, "--key", device / "node.pub", "--json").stdout) == own


def test_what_arrived_and_was_never_entered_is_told_in_bytes(device: Path, tmp_path: Path) -> None:
    evidence = ledger_evidence.read(device)
    rows = [ledger.unpack(one) for one in evidence.rows]
    record = tmp_path / "record.jsonl"
    lines = [{"sha256": row.sha256, "bytes": row.bytes, "destination": "mqtt"} for row in rows[:10]]
    record.write_text("\n".join(json.dumps(line) for line in [*lines, lines[0]]))
    done = _run("reconcile", device, "--record", record, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (told["matched"], told["undeclared_bytes"], told["unheard"]) == (11, 0, 4)
    record.write_text(json.dumps({"sha256": "ab" * 32, "bytes": 99, "topic": "elsewhere"}))
    done = _run("reconcile", device, "--record", record)
    assert done.exit_code == 1
    assert "99 undeclared bytes" in done.stdout


def died_on_a_full_disk(device: Path, waiting: int) -> list[Row]:
    """The device enters so many more, its medium takes nothing, and it is killed; returns all rows that it entered."""
    rows = _rows([DAY] * 5 + [DAY + 1] * 7 + [DAY + 2] * (2 + waiting))
    store = Store(device / "edgeward.db", 64)
    store._connection.execute("PRAGMA query_only = ON")
    for seq in range(15, 15 + waiting):
        writes = Writes()
        writes.ledger[seq] = rows[seq - 1]
        assert not store.commit(writes, durable=False)
        assert store.is_entered
    return [ledger.unpack(one) for one in rows]


def test_what_a_dead_device_had_entered_beside_its_full_database_is_told_and_reconciled(
    device: Path, tmp_path: Path
) -> None:
    from edge_agent.commands.group import main as agent

    rows = died_on_a_full_disk(device, 3)
    told = json.loads(_run("verify", device, "--key", device / "node.pub", "--json").stdout)
    assert (told["entries"], told["head"], told["flaws"]) == (17, rows[-1].hash(), [])
    record, out = tmp_path / "record.jsonl", tmp_path / "home-1.ledger"
    lines = [{"sha256": row.sha256, "bytes": row.bytes, "destination": "mqtt"} for row in rows]
    record.write_text("\n".join(json.dumps(line) for line in lines))
    assert CliRunner().invoke(agent, ["ledger", "export", "--state-dir", str(device), "--out", str(out)]).exit_code == 0
    for place in (device, device / "edgeward.db", out):
        found = json.loads(_run("reconcile", place, "--record", record, "--json").stdout)
        assert (found["matched"], found["undeclared"], found["unheard"]) == (17, [], 0)
    own = CliRunner().invoke(agent, ["ledger", "--state-dir", str(device), "--json"])
    assert json.loads(own.stdout) == {
        "bytes": told["bytes"],
        "entries": 17,
        "since": 1,
        "head": rows[-1].hash(),
        "broken_at": None,
    }


def test_rows_beside_a_database_count_once_also_where_it_has_them_already(device: Path) -> None:
    rows = died_on_a_full_disk(device, 3)
    kept = (device / ledger_reserve.FILE).read_bytes()
    Store(device / "edgeward.db", 64).close()  # takes them up
    (device / ledger_reserve.FILE).write_bytes(kept)  # the power went before it was cleared
    found = ledger_evidence.examine(ledger_evidence.read(device))
    assert (found.entries, found.head, found.flaws) == (17, rows[-1].hash(), ())


def test_a_database_that_lost_what_the_reserve_follows_upon_has_a_gap(device: Path) -> None:
    died_on_a_full_disk(device, 3)
    with contextlib.closing(sqlite3.connect(device / "edgeward.db")) as database, database:
        database.execute("DELETE FROM ledger WHERE seq > 12")
    (flaw,) = ledger_evidence.examine(ledger_evidence.read(device)).flaws
    assert (flaw.where, flaw.what) == ("entry 15", "entries 13 to 14 are missing")


@given(st.binary(max_size=300))
def test_what_is_no_ledger_is_refused_with_a_fix(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.ledger"
    for content in (raw, b"SQLite format 3\x00" + raw):
        path.write_bytes(content)
        try:
            ledger_evidence.examine(ledger_evidence.read(path))
        except EdgeError as error:
            assert error.hint
    path.write_bytes(raw)
    try:
        ledger_record.read_record(path)
    except EdgeError as error:
        assert error.hint
