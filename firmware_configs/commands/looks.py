"""`edge-audit looks`: who looked at what a device knows about people, and that nobody changed the books."""

from pathlib import Path

import click

from firmware_configs.commands.options import document, json_option


@click.command()
@click.argument("device", type=click.Path(path_type=Path))
@click.option("--head", help="A hash that was noted earlier, or 16 or more of its first digits: it must stand there.")
@click.option("--refused", is_flag=True, help="Only those who were not let in.")
@json_option
@click.pass_context
def looks(ctx: click.Context, device: Path, head: str | None, refused: bool, as_json: bool) -> None:
    """Check and show who looked. DEVICE is its state folder, or a copy of its looks.log.

    People are shown by a mark, which only the device can tell from a name. Exit code 1 when the chain is broken.
    """
    import msgspec

    from firmware_configs import looks as books
    from firmware_configs.ledger_evidence import read_head
    from firmware_configs.shown import line

    wanted = read_head(head) if head is not None else ""
    found = books.read(device)
    flaws = list(found.flaws)
    if wanted and not books.stands(found, wanted):
        flaws.append(books.Flaw(where="head", what=f"the noted head {wanted[:16]}… stands nowhere in this log"))
    chosen = [look for look in found.looks if not (refused and look.allowed)]
    if as_json:
        told = {"looks": chosen, "kept": len(found.looks), "folded": found.folded, "head": found.head, "flaws": flaws}
        click.echo(document(msgspec.to_builtins(told)))
        ctx.exit(1 if flaws else 0)
    for look in chosen:
        click.echo(line(books.in_words(look)))
    for flaw in flaws:
        click.echo(f"{click.style('does not fit', fg='red')}: {line(f'{flaw.where}: {flaw.what}')}")
    gone = f", {found.folded:,} older ones gave way" if found.folded else ""
    click.echo(f"{len(found.looks):,} looks{gone}; head {found.head[:16]}…")
    click.echo("everything fits" if not flaws else f"{len(flaws)} things do not fit")
    ctx.exit(1 if flaws else 0)
