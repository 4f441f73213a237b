"""Forged ledgers, by somebody with the file and without the device's key: what passes is what the device wrote."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_configs import ledger, ledger_evidence
from firmware_configs.cli import main
from firmware_configs.errors import EdgeError
from firmware_configs.ledger import DAY_MS, GENESIS, Pruned, Row
from firmware_configs.ledger_evidence import Evidence, Verdict, examine

EXAMPLES = Path(__file__).parents[2] / "examples" / "officer"
KEY = ec.generate_private_key(ec.SECP384R1())
FOREIGN = ec.generate_private_key(ec.SECP384R1())
DAYS = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 5, 5, 6, 6]
"""The day of each entry; those of day 6 are not sealed."""


def _written(days: list[int], begin: int = 1, previous: str = GENESIS, mark: str = "") -> list[Row]:
    rows: list[Row] = []
    for seq, day in enumerate(days, start=begin):
        at = day * DAY_MS + seq
        row = Row(
            seq=seq,
            kind="decision",
            destination="mqtt",
            bytes=seq,
            sha256=f"{seq:064x}",
            purposes=("comfort",),
            profile="p",
            privacy=mark,
            time_ms=at,
            previous=previous,
        )
        rows.append(row)
        previous = row.hash()
    return rows


def _chained(rows: list[Row], begin: int) -> list[Row]:
    """The rows from a place on linked anew, each to the one before."""
    linked = rows[:begin]
    for row in rows[begin:]:
        before = linked[-1].hash() if linked else row.previous
        linked.append(msgspec.structs.replace(row, previous=before))
    return linked


def _signed(evidence: Evidence, today: int, key: ec.EllipticCurvePrivateKey = KEY) -> Evidence:
    made = ledger_evidence.sealed(evidence, "home-1", today, 0)
    seals = []
    for one in made:
        signature = key.sign(one.signed(), ec.ECDSA(hashes.SHA384()))
        seals.append(msgspec.structs.replace(one, signature=signature))
    return msgspec.structs.replace(evidence, seals=(*evidence.seals, *seals))


ROWS = _written(DAYS)
TRUE = _signed(Evidence(device="home-1", rows=tuple(ledger.pack(row) for row in ROWS)), 6)


def _gave_way(evidence: Evidence, through: int) -> Evidence:
    """The same ledger after its device made room."""
    rows = [ledger.unpack(one) for one in evidence.rows]
    return msgspec.structs.replace(
        evidence,
        rows=tuple(ledger.pack(row) for row in rows if row.seq > through),
        pruned=ledger.prune(evidence.pruned, [row for row in rows if row.seq <= through]),
    )


def _of(rows: list[Row], **other: object) -> Evidence:
    return msgspec.structs.replace(TRUE, rows=tuple(ledger.pack(row) for row in rows), **other)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """A device may keep three entries here: what is forged stays small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_evidence, "KEPT_MIN", 3)
        yield


def _true_as_far_as_signed(evidence: Evidence, verdict: Verdict) -> bool:
    """Whether what is kept up to the newest signed entry is, byte for byte, what the device wrote."""
    through, signed = evidence.pruned.through, verdict.signed_through
    kept = [one for one in evidence.rows if ledger.unpack(one).seq <= signed]
    head = ROWS[through - 1].hash() if through else GENESIS
    return (
        0 <= through < signed
        and evidence.pruned.head == head
        and kept == list(TRUE.rows[through:signed])
        and evidence.device == "home-1"
        and verdict.unsigned == len(evidence.rows) - len(kept)
    )


@pytest.mark.parametrize("through", range(12))
def test_a_ledger_that_gave_way_fits_while_a_signed_entry_is_kept(through: int) -> None:
    found = examine(_gave_way(TRUE, through), KEY.public_key())
    assert (found.flaws, found.signed_through, found.since) == ((), 12, through + 1)
    assert _true_as_far_as_signed(_gave_way(TRUE, through), found)


def test_days_that_gave_way_before_they_were_sealed_are_the_only_ones_that_no_seal_covers() -> None:
    gap = _signed(_gave_way(_signed(_of(ROWS, seals=()), 2), 7), 6)
    assert [(one.first, one.last) for one in gap.seals] == [(1, 3), (4, 5), (8, 9), (10, 10), (11, 12)]
    assert examine(gap, KEY.public_key()).flaws == ()
    back = msgspec.structs.replace(gap, rows=TRUE.rows, pruned=Pruned())
    assert [flaw.what for flaw in examine(back, KEY.public_key()).flaws] == [
        "entries 6 to 7 are in no seal, and did not give way"
    ]


def test_entries_after_the_newest_seal_are_counted_and_so_are_those_of_days_that_were_over() -> None:
    found = examine(TRUE, KEY.public_key())
    assert (found.signed_through, found.unsigned, found.overdue, found.flaws) == (12, 2, 0, ())
    cut = examine(_of(ROWS, seals=TRUE.seals[:-2]), KEY.public_key())
    assert (cut.signed_through, cut.unsigned, cut.overdue, cut.flaws) == (9, 5, 3, ())
    assert examine(TRUE).unsigned == len(DAYS)


FORGED = {
    "the audit's: one entry gave way, and all others are written anew": _of(
        [msgspec.structs.replace(row, sha256="00" * 32) for row in ROWS[1:]],
        pruned=Pruned(through=1, head=ROWS[0].hash(), bytes={"decision": 1}),
    ),
    "no seals": _of(ROWS, seals=()),
    "entries taken out and no seals": _of(_written(DAYS[:6] + DAYS[10:]), seals=()),
    "no entries and no seals": _of([], seals=()),
    "no entries": _of([]),
    "the end of a sealed day": _of(ROWS[:11]),
    "the end of a sealed day whose beginning gave way": _gave_way(_of(ROWS[:8]), 6),
    "the beginning, and nothing gave way": _of(ROWS[3:]),
    "the first seal": _of(ROWS, seals=TRUE.seals[1:]),
    "a seal between": _of(ROWS, seals=(*TRUE.seals[:1], *TRUE.seals[2:])),
    "seals in another order": _of(ROWS, seals=TRUE.seals[::-1]),
    "a seal twice": _of(ROWS, seals=(*TRUE.seals, TRUE.seals[-1])),
    "another device's name": _of(ROWS, device="home-2"),
    "sums of what never gave way": _of(ROWS, pruned=Pruned(bytes={"status": 10})),
    "a hash of what never gave way": _of(ROWS, pruned=Pruned(head="1" * 64)),
    "less than nothing gave way": _of(ROWS, pruned=Pruned(through=-1, head=GENESIS, bytes={"status": 10})),
    "an entry that gave way stands there again": msgspec.structs.replace(
        _gave_way(TRUE, 5), rows=(TRUE.rows[4], *TRUE.rows[5:])
    ),
    "an entry twice": _of([*ROWS, ROWS[-1]]),
    "more gave way than any device lets go": _gave_way(_of(ROWS[:13]), 11),
    "the last day's beginning gave way, and its end is written anew": _gave_way(
        _of([*ROWS[:11], *_chained([*ROWS[:11], msgspec.structs.replace(ROWS[11], bytes=1), *ROWS[12:]], 11)[11:]]), 11
    ),
    "the seals of what gave way": _gave_way(_of(ROWS, seals=TRUE.seals[1:]), 5),
    "everything written anew and signed with another key": _signed(_of(_written(DAYS, mark="x"), seals=()), 6, FOREIGN),
    "the last day written anew and signed with another key": _signed(
        _of([*ROWS[:10], *_written(DAYS[10:], 11, ROWS[9].hash(), "x")], seals=TRUE.seals[:-1]), 6, FOREIGN
    ),
    "all that is signed gave way": _gave_way(
        _of([*ROWS, *_written([6] * 4, 15, ROWS[-1].hash())]), TRUE.seals[-1].last + 1
    ),
    "everything up to a seal gave way, and another head is told": msgspec.structs.replace(
        _gave_way(TRUE, 9), pruned=Pruned(through=9, head="1" * 64, bytes={"decision": 1})
    ),
    "a whole other ledger": _of(_written(DAYS, mark="x")),
    "a number that nobody could count up to": _of(
        ROWS, seals=(*TRUE.seals[:-1], msgspec.structs.replace(TRUE.seals[-1], last=2**62, day=2**40))
    ),
}


@pytest.mark.parametrize("how", FORGED)
def test_what_was_forged_does_not_fit(how: str) -> None:
    assert examine(FORGED[how], KEY.public_key()).flaws


def _rows_changed(draw: st.DrawFn, how: str, rows: list[Row]) -> list[Row]:
    """The rows (one or more) after somebody was at them."""
    place = draw(st.integers(0, len(rows) - 1))
    own = rows[place]
    match how:
        case "change":
            return [*rows[:place], msgspec.structs.replace(own, bytes=draw(st.integers(0, 9))), *rows[place + 1 :]]
        case "drop":
            return rows[:place] + rows[place + 1 :]
        case "tail":
            return rows[: place + 1]
        case "add":
            return rows + _written([6], rows[-1].seq + 1, rows[-1].hash(), "x")
        case _:
            return rows[:place] + _written([6] * draw(st.integers(1, len(ROWS))), own.seq, own.previous, "x")


def _pruned_changed(draw: st.DrawFn, how: str, rows: list[Row], pruned: Pruned) -> tuple[list[Row], Pruned]:
    """Rows (one or more) and what gave way after somebody was at these."""
    place = draw(st.integers(0, len(rows) - 1))
    match how:
        case "cut":
            return rows[place:], ledger.prune(pruned, rows[:place])
        case "through":
            return rows, Pruned(through=draw(st.integers(-1, len(ROWS))), head=pruned.head, bytes={"decision": 1})
        case _:
            return rows, msgspec.structs.replace(pruned, head=draw(st.sampled_from([GENESIS, rows[place].previous])))


@st.composite
def attacks(draw: st.DrawFn) -> Evidence:
    """A ledger that may have given way, and then what somebody without the key did to it, linked anew or not."""
    true = draw(st.integers(0, 11) | st.integers(10, 11))
    rows, pruned = list(ROWS[true:]), _gave_way(TRUE, true).pruned
    for _ in range(draw(st.integers(0, 3))):
        how = draw(st.sampled_from(["change", "drop", "tail", "add", "anew", "cut", "through", "head"]))
        if rows and how in {"cut", "through", "head"}:
            rows, pruned = _pruned_changed(draw, how, rows, pruned)
        elif rows:
            rows = _rows_changed(draw, how, rows)
        if draw(st.booleans()):
            rows = [msgspec.structs.replace(row, seq=pruned.through + 1 + n) for n, row in enumerate(rows)]
        if draw(st.booleans()):
            rows = _chained(rows, draw(st.integers(0, len(rows))))
    left_out = draw(st.sets(st.integers(0, len(TRUE.seals) - 1), max_size=2))
    seals = [one for place, one in enumerate(TRUE.seals) if place not in left_out]
    if seals and draw(st.booleans()):
        which = draw(st.integers(0, len(seals) - 1))
        seals[which] = msgspec.structs.replace(seals[which], last=seals[which].last + draw(st.integers(-2, 2)))
    forged = _of(rows, pruned=pruned, seals=tuple(seals))
    return _signed(forged, 6, FOREIGN) if draw(st.booleans()) else forged


@settings(max_examples=400)
@given(attacks())
def test_whatever_was_done_to_a_ledger_what_passes_is_what_its_device_wrote(forged: Evidence) -> None:
    verdict = examine(forged, KEY.public_key())
    assert verdict.flaws or _true_as_far_as_signed(forged, verdict)
    export = msgspec.msgpack.encode(forged)
    assert ledger_evidence.of_export(export, "forged.ledger") == forged


def _goes_unseen(raw: bytes, place: int, bits: int, key: ec.EllipticCurvePublicKey) -> bool:
    changed = bytearray(raw)
    changed[place] ^= bits
    try:
        return not examine(ledger_evidence.of_export(bytes(changed), "changed.ledger"), key).flaws
    except EdgeError as refused:
        return not refused.hint


@pytest.mark.parametrize(
    "turn",
    [0, *(pytest.param(turn, marks=pytest.mark.slow) for turn in range(1, 8)), pytest.param(8, marks=pytest.mark.slow)],
)
def test_every_changed_byte_of_an_export_is_found(turn: int) -> None:
    """One bit of each byte, another one each turn; the last turn changes all of a byte's bits."""
    raw, key = (EXAMPLES / "home-1.ledger").read_bytes(), ledger_evidence.read_key(EXAMPLES / "home-1.pub")
    assert not examine(ledger_evidence.of_export(raw, "home-1.ledger"), key).flaws
    turned = ((place, 0xFF if turn == 8 else 1 << (place + turn) % 8) for place in range(len(raw)))
    assert [place for place, bits in turned if _goes_unseen(raw, place, bits, key)] == []


@given(st.integers(0, 5_958), st.binary(max_size=3), st.integers(0, 3))
def test_an_export_with_bytes_put_in_or_left_out_is_found(place: int, more: bytes, fewer: int) -> None:
    raw, key = (EXAMPLES / "home-1.ledger").read_bytes(), ledger_evidence.read_key(EXAMPLES / "home-1.pub")
    changed = raw[:place] + more + raw[place + fewer :]
    try:
        flaws = examine(ledger_evidence.of_export(changed, "changed.ledger"), key).flaws
    except EdgeError:
        return
    assert flaws or changed == raw


def test_a_young_ledger_is_told_apart_from_one_that_fits(tmp_path: Path) -> None:
    young, key = tmp_path / "young.ledger", tmp_path / "node.pub"
    young.write_bytes(msgspec.msgpack.encode(_of(ROWS[:1], seals=(), device="")))
    key.write_bytes((EXAMPLES / "home-1.pub").read_bytes())
    done = CliRunner().invoke(main, ["ledger", "verify", str(young), "--key", str(key)])
    assert done.exit_code == 1
    assert "nothing is signed yet, so nothing is proven" in done.stdout
    assert "1 entry; 0 days sealed" in done.stdout
    assert "the newest entry is chained, not yet signed" in done.stdout
    assert "everything fits" not in done.stdout
    done = CliRunner().invoke(main, ["ledger", "verify", str(young)])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "the chain fits")


def _verify(*words: str) -> str:
    done = CliRunner().invoke(main, ["ledger", "verify", str(EXAMPLES / "home-1.ledger"), *words])
    return f"{done.exit_code} {done.output}"


def test_the_head_that_verify_prints_is_taken_back_and_so_are_longer_ones() -> None:
    printed = _verify().split("head ")[1].split("\n")[0]
    whole = ledger_evidence.read(EXAMPLES / "home-1.ledger")
    head = examine(whole).head
    for told in (printed, printed[:16], head[:20].upper(), head):
        assert _verify("--head", told).startswith("0 ")
    other = "f" * 16 if head[0] != "f" else "e" * 16
    assert "stands nowhere" in _verify("--head", other)


@pytest.mark.parametrize("head", ["", "7086977ed8aa302", "x" * 64, "0" * 65])
def test_what_is_no_hash_is_refused_and_not_passed_over(head: str) -> None:
    told = _verify("--head", head)
    assert told.startswith("2 ")
    assert "16 or more" in told
