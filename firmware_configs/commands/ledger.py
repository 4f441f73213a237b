"""`edge-audit ledger`, `reconcile`: prove what left a device."""

from pathlib import Path

import click

from firmware_configs.commands.options import deliver, document, json_option
from firmware_configs.shown import line

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
@click.option("--head", default="", help="A hash that the device reported (ledger_head): it must stand in the chain.")
@json_option
@click.pass_context
def verify(ctx: click.Context, device: Path, key: Path | None, head: str, as_json: bool) -> None:
    """Follow the chain, build the daily roots again, check the signatures.

    Exit code 0 when everything fits, 1 when something was changed or is missing (and where).
    """
    import msgspec

    from firmware_configs import ledger_evidence as evidence
    from firmware_configs.report.wording import size

    found = evidence.examine(evidence.read(device), evidence.read_key(key) if key is not None else None, head)
    if as_json:
        click.echo(document(msgspec.to_builtins(found)))
    else:
        for kind, count in sorted(found.bytes.items()):
            click.echo(f"{kind:<14} {size(count):>12}")
        gone = f", those before {found.since:,} gave way" if found.since > 1 else ""
        click.echo(f"{found.entries:,} entries{gone}; {found.days_sealed} days sealed; head {found.head[:16]}…")
        if key is None:
            click.echo("signatures were not checked: give --key node.pub")
        elif found.signed_through:
            click.echo(f"signed by this device up to entry {found.signed_through:,}")
        for flaw in found.flaws:
            click.echo(f"{click.style('does not fit', fg='red')}: {line(f'{flaw.where}: {flaw.what}')}")
        click.echo("everything fits" if not found.flaws else f"{len(found.flaws)} things do not fit")
    ctx.exit(1 if found.flaws else 0)


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
@json_option
@click.pass_context
def reconcile(ctx: click.Context, device: Path, record: Path, as_json: bool) -> None:
    """Compare the ledger with a record of what arrived at a broker or a SuperLink.

    Exit code 1 when something arrived that was never entered: it left past the ledger.
    """
    import msgspec

    from firmware_configs import ledger_evidence as evidence

    found = evidence.reconcile(evidence.read(device), evidence.read_record(record))
    if as_json:
        click.echo(document(msgspec.to_builtins(found)))
    else:
        click.echo(f"{found.matched:,} messages arrived that were entered before")
        click.echo(f"{found.unheard:,} were entered and are not in the record (under way, expired, or not recorded)")
        for one in found.undeclared[:20]:
            click.echo(
                f"{click.style('undeclared', fg='red')}: {one.bytes} bytes on {line(one.topic or one.destination)}"
            )
        click.echo(f"{len(found.undeclared):,} undeclared messages, {found.undeclared_bytes:,} undeclared bytes")
    ctx.exit(1 if found.undeclared else 0)
