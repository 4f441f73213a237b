"""`edge-audit erasure`: prove that a device has erased somebody."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from firmware_configs.commands.options import document, json_option

if TYPE_CHECKING:
    from firmware_configs.erasure import Receipt


@click.command()
@click.argument("receipts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), help="The device's node.pub: then signatures are checked.")
@click.option(
    "--subject", default="", help="Whom it should be about; needs the person's own copy, which has the nonce."
)
@json_option
@click.pass_context
def erasure(ctx: click.Context, receipts: tuple[Path, ...], key: Path | None, subject: str, as_json: bool) -> None:
    """Check erasure RECEIPTS: what `edge-agent subject erase --out` wrote, or the files in a device's `erasures`.

    Several are a chain, oldest first. Exit code 1 when a signature or the chain does not fit, when a receipt is about
    somebody else, or when it admits that something was left.
    """
    import msgspec

    from firmware_configs import erasure_evidence as evidence
    from firmware_configs.ledger_evidence import read_key

    copies = [evidence.read(path) for path in receipts]
    flaws = evidence.examine(copies, read_key(key) if key is not None else None, subject)
    told = [copy.receipt for copy in copies]
    if as_json:
        click.echo(document({"receipts": msgspec.to_builtins(told), "flaws": flaws, "signatures": key is not None}))
        ctx.exit(1 if flaws else 0)
    for receipt in told:
        click.echo(_words(receipt))
    if key is None:
        click.echo("signatures were not checked: give --key node.pub")
    for flaw in flaws:
        click.echo(f"{click.style('does not fit', fg='red')}: {flaw}")
    if not flaws:
        click.echo("everything fits" + (f"; it is about {subject}" if subject else ""))
    ctx.exit(1 if flaws else 0)


def _words(receipt: "Receipt") -> str:
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(receipt.made_ms / 1_000, UTC)
    rows = ", ".join(f"{count} of {what}" for what, count in sorted(receipt.erased.items())) or "nothing was held"
    return f"{receipt.device} erased {len(receipt.marks)} subject(s) on {at:%Y-%m-%d %H:%M} UTC: {rows}"
