"""`edge-audit ledger`, `reconcile`: prove what left a device."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from firmware_configs.commands.options import deliver, document, json_option
from firmware_configs.shown import line

if TYPE_CHECKING:
    from firmware_configs.ledger_evidence import Verdict
    from firmware_configs.ledger_record import Reconciled

key_option = click.option(
    "--key", type=click.Path(path_type=Path), help="The device's node.pub: then signatures are checked."
)


@click.group()
def ledger() -> None:
    """Prove what left a device.

    DEVICE is its state folder, its edgeward.db, or the file that `edge-agent ledger export` wrote.
    """


@ledger.command()
@click.argument("device", type=click.Path(path_type=Path))
@key_option
@click.option("--head", help="A hash that the device reported (ledger_head), or 16 or more of its first digits.")
@json_option
@click.pass_context
def verify(ctx: click.Context, device: Path, key: Path | None, head: str | None, as_json: bool) -> None:
    """Follow the chain, build the daily roots again, check the signatures.

    Exit code 0 when everything fits, 1 when something was changed or is missing (and where), and when there is a key
    and nothing that it signed. With --head, that hash must stand in the chain.
    """
    import msgspec

    from firmware_configs import ledger_evidence as evidence
    from firmware_configs.report.wording import counted, size

    wanted = evidence.read_head(head) if head is not None else ""
    found = evidence.examine(evidence.read(device), evidence.read_key(key) if key is not None else None, wanted)
    if as_json:
        click.echo(document(msgspec.to_builtins(found)))
        ctx.exit(1 if found.flaws else 0)
    for kind, count in sorted(found.bytes.items()):
        click.echo(f"{line(kind):<14} {size(count):>12}")
    gone = f", those before {found.since:,} gave way (their sums are the device's word)" if found.since > 1 else ""
    entries = counted(found.entries, "entry", "entries")
    click.echo(f"{entries}{gone}; {counted(found.days_sealed, 'day')} sealed; head {found.head[:16]}…")
    for said in _signed(found, has_key=key is not None):
        click.echo(said)
    for said in _flaws(found):
        click.echo(said)
    if not found.flaws:
        click.echo("everything fits" if key is not None else "the chain fits")
    ctx.exit(1 if found.flaws else 0)


def _signed(found: "Verdict", *, has_key: bool) -> Iterator[str]:
    """How far signatures reach, in words."""

    if not has_key:
        yield "signatures were not checked: give --key node.pub"
        return
    if found.signed_through:
        yield f"signed by this device up to entry {found.signed_through:,}"
    if found.unsigned:
        overdue = f"; {found.overdue:,} of them of days that were over: ask why these were not sealed"
        newest = "newest entry is" if found.unsigned == 1 else f"{found.unsigned:,} newest entries are"
        yield f"the {newest} chained, not yet signed{overdue if found.overdue else ''}"


def _flaws(found: "Verdict") -> Iterator[str]:
    """What does not fit, and how much that is."""
    for flaw in found.flaws:
        yield f"{click.style('does not fit', fg='red')}: {line(f'{flaw.where}: {flaw.what}')}"
    if found.flaws:
        yield "1 thing does not fit" if len(found.flaws) == 1 else f"{len(found.flaws):,} things do not fit"


@ledger.command()
@click.argument("device", type=click.Path(path_type=Path))
@click.argument("entry", type=click.IntRange(1))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File for the proof.")
def prove(device: Path, entry: int, out: Path) -> None:
    """Write a proof that ENTRY stands in a sealed day. It shows that entry and none of the others."""
    import msgspec

    from firmware_configs import ledger_evidence as evidence

    proof = evidence.proof_of(evidence.read(device), entry)
    deliver(msgspec.json.format(msgspec.json.encode(proof)).decode(), out)


@ledger.command("check-proof")
@click.argument("proof", type=click.Path(path_type=Path))
@key_option
@json_option
@click.pass_context
def check_proof(ctx: click.Context, proof: Path, key: Path | None, as_json: bool) -> None:
    """Check a proof of one entry, without the device. Exit code 1 when it proves nothing."""
    import msgspec

    from firmware_configs import ledger as books
    from firmware_configs import ledger_evidence as evidence
    from firmware_configs.errors import EvidenceUnreadable

    try:
        given = msgspec.json.decode(proof.read_bytes(), type=books.Proof)
        row = books.unpack(given.row)
    except (OSError, msgspec.MsgspecError) as error:
        hint = "give the file that `edge-audit ledger prove` wrote"
        raise EvidenceUnreadable(f"{proof} is no proof: {error}", hint=hint) from None
    leads = books.proves(given)
    signed = evidence.fits(given.seal, evidence.read_key(key)) if key is not None else None
    if as_json:
        data = {"proves": leads, "signed": signed, "entry": msgspec.to_builtins(row), "device": given.seal.device}
        click.echo(document(data))
    else:
        day = evidence.day_of(given.seal)
        click.echo(
            f"entry {row.seq}: {row.bytes} bytes of {row.kind} to {row.destination}, for {', '.join(row.purposes)}"
        )
        verdict = f"it stands in the ledger of {given.seal.device} for {day}" if leads else "it leads nowhere"
        click.echo(verdict)
        told = {None: "signature not checked: give --key", True: "signed by that key", False: "NOT signed by that key"}
        click.echo(told[signed])
    ctx.exit(0 if leads and signed is not False else 1)


@ledger.command()
@click.argument("device", type=click.Path(path_type=Path))
@click.option(
    "--record", required=True, type=click.Path(path_type=Path), help="What arrived: `edge-coordinator listen`."
)
@key_option
@click.option("--since", default="", help="Begin of the record: `7d`, `12h`, or a date such as 2026-11-01 (UTC).")
@click.option("--until", default="", help="Its end, in the same way. Entries of another time are not missed in it.")
@json_option
@click.pass_context
def reconcile(
    ctx: click.Context, device: Path, record: Path, key: Path | None, since: str, until: str, as_json: bool
) -> None:
    """Compare the ledger with a record of what arrived at a broker or a SuperLink.

    The ledger is examined first, as `verify` does. Exit code 1 when something in it does not fit, and when something
    arrived that was never entered: it left past the ledger.
    """
    import time

    import msgspec

    from firmware_configs import ledger_evidence as evidence
    from firmware_configs import ledger_record as records
    from firmware_configs.errors import EvidenceUnreadable, UsageError
    from firmware_configs.moments import moment

    now_ms = int(time.time() * 1_000)
    since_ms = moment(since, now_ms, "--since") if since else 0
    until_ms = moment(until, now_ms, "--until") if until else 2**62
    if until_ms <= since_ms:
        raise UsageError("--until is not after --since", hint="give the time in which the record was made")
    received = records.read_record(record)
    if not received:
        hint = "record while the device sends: edge-coordinator listen --out FILE"
        raise EvidenceUnreadable(f"{record} is empty: there is nothing to compare the ledger with", hint=hint)
    books = evidence.read(device)
    verdict = evidence.examine(books, evidence.read_key(key) if key is not None else None)
    found = records.reconcile(books, received, since_ms, until_ms)
    if as_json:
        flaws = msgspec.to_builtins(verdict.flaws)
        click.echo(document(msgspec.to_builtins(found) | {"unsigned": verdict.unsigned, "flaws": flaws}))
    else:
        for said in (*_signed(verdict, has_key=key is not None), *_flaws(verdict), *_arrived(found, verdict)):
            click.echo(said)
    ctx.exit(1 if found.undeclared or verdict.flaws else 0)


def _arrived(found: "Reconciled", verdict: "Verdict") -> Iterator[str]:
    """What arrived against what was entered, in words."""
    from firmware_configs.report.wording import counted

    yield f"{counted(found.matched, 'message')} arrived that {'was' if found.matched == 1 else 'were'} entered before"
    unheard = counted(found.unheard, "entry is", "entries are")
    yield f"{unheard} not in the record (under way, expired, or not recorded)"
    for destination, count in sorted(found.not_compared.items()):
        entries = counted(count, "entry", "entries")
        yield f"{line(destination)} was not compared: the record has nothing of it ({entries})"
    for one in found.undeclared[:20]:
        said = f"{counted(one.bytes, 'byte')} on {line(one.topic or one.destination)}"
        yield f"{click.style('undeclared', fg='red')}: {said}"
    if found.undeclared and verdict.since > 1:
        yield f"entries before {verdict.since:,} gave way: what they declared counts as undeclared here"
    messages = counted(len(found.undeclared), "undeclared message")
    yield f"{messages}, {counted(found.undeclared_bytes, 'undeclared byte')}"
