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
    """List enrolled devices, and which of them are in quarantine."""
    import msgspec

    from coordinator.shell.quarantine_store import QuarantineStore
    from coordinator.shell.store import Store

    found = Store(home).devices(revoked=True)
    store = QuarantineStore(home)
    inside, standings = store.entries(), store.standings()
    rows = []
    lines = []
    for device in found:
        entry, standing = inside.get(device.name), standings.get(device.name)
        rows.append(
            {
                "device": device.name,
                "node": str(device.node),
                "revoked": device.revoked,
                "quarantine": msgspec.to_builtins(entry) if entry else None,
                "points": round(standing.score, 2) if standing else 0.0,
            }
        )
        told = "  revoked" if device.revoked else ""
        if entry is not None:
            told += f"  quarantined by the {entry.by} until {_day(entry.until_ms)}: {entry.reason}"
        lines.append(f"{device.name:<24} {device.node:>20}{told}")
    show(rows, "\n".join(lines) or "no device is enrolled", as_json)


@nodes.command("quarantine")
@click.argument("device")
@click.option("--reason", required=True, help="Why; it is kept in the audit.")
@click.option("--days", default=7.0, show_default=True, type=click.FloatRange(min=0.0, min_open=True))
@home_option
@json_option
def quarantine(device: str, reason: str, days: float, home: Path, as_json: bool) -> None:
    """Do not ask DEVICE in rounds for a while; it keeps its key and its models."""
    import msgspec

    from coordinator.shell.quarantine_store import QuarantineStore
    from coordinator.shell.store import Store

    Store(home).device(device)
    entry = QuarantineStore(home).quarantine(device, reason, days)
    show(msgspec.to_builtins(entry), f"{device} is not asked until {_day(entry.until_ms)}", as_json)


@nodes.command("release")
@click.argument("device")
@click.option("--reason", required=True, help="Why; it is kept in the audit.")
@home_option
@json_option
def release(device: str, reason: str, home: Path, as_json: bool) -> None:
    """Ask DEVICE again, and count its reports from nothing."""
    import msgspec

    from coordinator.shell.quarantine_store import QuarantineStore

    entry = QuarantineStore(home).release(device, reason)
    show(msgspec.to_builtins(entry), f"{device} is asked again", as_json)


@nodes.command("audit")
@click.argument("device", default="")
@home_option
@json_option
def audit(device: str, home: Path, as_json: bool) -> None:
    """Show who was quarantined or released, by whom and on what evidence; of DEVICE, or of all."""
    import msgspec

    from coordinator.shell.quarantine_store import QuarantineStore

    changes = QuarantineStore(home).audit(device)
    lines = [f"{_day(one.time_ms)}  {one.device:<24} {one.what:<12} {one.by:<12} {one.reason}" for one in changes]
    show(msgspec.to_builtins(changes), "\n".join(lines) or "nothing was changed", as_json)


def _day(time_ms: int) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(time_ms / 1_000))
