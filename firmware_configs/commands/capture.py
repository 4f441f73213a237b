"""`edge-audit capture`: what pages may capture, in words, or as the document that pages read."""

from pathlib import Path

import click

from firmware_configs.commands.options import deliver, document, json_option, out_option


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--device", default="gateway-1", show_default=True, help="Whose pages; part of the topics.")
@click.option("--source", default="", help="Name of the [[source]]; default: the first that pages fill.")
@out_option
@json_option
def capture(path: Path, device: str, source: str, out: Path | None, as_json: bool) -> None:
    """Show what pages may capture with edgeward.js, by the profile at PATH.

    With --json it is the document that pages read, where `edge-agent web` does not serve it:
    edge-audit capture PROFILE --device shop-1 --json --out capture-policy.json
    """
    import msgspec

    from firmware_configs.capture import policy
    from firmware_configs.loader import load

    found = policy(load(path).profile, device, source)
    if as_json:
        deliver(document(msgspec.to_builtins(found)), out)
        return
    lines = [f"source {found.source}: pages publish to edgeward/1/{device}/{found.topic}"]
    lines += [f"  captures {name} for {', '.join(purposes)}" for name, purposes in found.fields.items()]
    lines += [f"  asks for {name}, for {' and '.join(purposes)}" for name, purposes in found.placements.items()]
    for name, purpose in found.purposes.items():
        when = "only after a yes" if purpose.asks else "until an objection"
        gpc = "; never under Global Privacy Control" if purpose.shares else ""
        lines.append(f"  {name}: {when}{gpc} (text {purpose.version})")
    deliver("\n".join(lines), out)
