"""`edge-coordinator nodes`: devices that may take part."""

from pathlib import Path

import click

from coordinator.commands.options import home_option, json_option, show


@click.group()
def nodes() -> None:
    """Devices that may take part."""


@nodes.command("enrol")
@click.argument("device")
@click.option("--public-key", required=True, type=click.Path(path_type=Path), help="node.pub of `edge-agent keys new`.")
@home_option
@json_option
def enrol(device: str, public_key: Path, home: Path, as_json: bool) -> None:
    """Enrol DEVICE with its public key."""
    from coordinator.shell.enrol import enrol as run

    done = run(home, device, public_key)
    show({"device": done.name, "node": str(done.node)}, f"enrolled {done.name} as node {done.node}", as_json)


@nodes.command("revoke")
@click.argument("device")
@home_option
@json_option
def revoke(device: str, home: Path, as_json: bool) -> None:
    """Refuse DEVICE from now on."""
    from coordinator.shell.enrol import revoke as run

    done = run(home, device)
    show({"device": done.name, "revoked": True}, f"revoked {done.name}", as_json)


@nodes.command("ls")
@home_option
@json_option
def list_nodes(home: Path, as_json: bool) -> None:
    """List enrolled devices."""
    from coordinator.shell.store import Store

    found = Store(home).devices(revoked=True)
    rows = [{"device": d.name, "node": str(d.node), "revoked": d.revoked} for d in found]
    lines = [f"{d.name:<24} {d.node:>20}{'  revoked' if d.revoked else ''}" for d in found]
    show(rows, "\n".join(lines) or "no device is enrolled", as_json)
