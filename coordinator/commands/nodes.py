"""`edge-coordinator nodes`: devices that may take part."""

from collections.abc import Sequence
from pathlib import Path

import click

from coordinator.commands.options import existing_home_option, home_option, json_option, show
from firmware_configs.cli_group import FiniteRange


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


@nodes.command("invite")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 10_000), help="Tokens.")
@click.option("--expires", default="24h", show_default=True, help="How long they are good: 30m, 24h, 7d.")
@click.option("--device", default="", help="The only name that the token is good for; with --count 1.")
@click.option("--group", "groups", multiple=True, help="What the device is put into; repeat.")
@click.option("--withdraw", is_flag=True, help="Let no token that is unused be used, and make none.")
@home_option
@json_option
def invite(
    count: int, expires: str, device: str, groups: Sequence[str], withdraw: bool, home: Path, as_json: bool
) -> None:
    """Make tokens that let one device in each, once: `edge-agent enrol URL TOKEN`."""
    from coordinator.fleet.selection import seconds, word
    from coordinator.shell.authority import fingerprint
    from coordinator.shell.home import endpoints_of
    from coordinator.shell.invitations import Invitations

    tokens = Invitations(home)
    if withdraw:
        gone = tokens.withdraw()
        show({"withdrawn": gone}, f"withdrew {gone} tokens", as_json)
        return
    if device and count > 1:
        raise click.UsageError("--device goes with one token")
    url, lasts_s = endpoints_of(home).registry, seconds(expires)
    made = [str(one) for one in tokens.make(count, lasts_s, device=device, groups=[word(g, "a group") for g in groups])]
    lines = [f"edge-agent enrol {url} {one}" for one in made]
    pin = fingerprint(home)
    data = {"url": url, "tokens": made, "expires_s": lasts_s, "fingerprint": pin}
    told = f"each is good once, for {expires}; it pins the coordinator's authority, SHA-256 {pin}"
    show(data, "\n".join([*lines, told]), as_json)


@nodes.command("app")
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(["app", "consent", "page", "sensor", "viewer"]),
    help="What it may do; repeat.",
)
@click.option("--device", default="", help="The only device whose topics it may use.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for its key, certificate and authority.")
@click.option("--days", default=90.0, show_default=True, type=FiniteRange(0.01, 397), help="Its certificate's.")
@click.option("--revoke", is_flag=True, help="Let it in no more.")
@home_option
@json_option
def app(
    name: str, roles: Sequence[str], device: str, out: Path | None, days: float, revoke: bool, home: Path, as_json: bool
) -> None:
    """Give an app NAME a certificate for the broker; it may do what its roles say.

    app: reads decisions, writes feedback and requests. consent: writes people's word. sensor: writes what profiles'
    sources read. viewer: reads status, reports and alerts. page: what edgeward.js says in a kiosk's browser; such an
    app gets a password, too, for the WebSocket listener of `up --websocket-port`.

    \b
    Examples:
      edge-coordinator nodes app dashboard --role viewer --out certs
      edge-coordinator nodes app home-1-shelf --role page --device home-1 --out certs
    """
    from coordinator.shell.apps import admit, dismiss

    if revoke:
        gone = dismiss(home, name)
        show({"app": name, "revoked": gone}, f"revoked {gone} certificates of {name}", as_json)
        return
    if not roles or out is None:
        raise click.UsageError("pass --role and --out")
    files = admit(home, name, roles, out, days, device=device)
    data = {"app": name, "roles": list(roles), **{key: str(path) for key, path in files.items()}}
    show(data, "\n".join(f"{key:<12} {path}" for key, path in files.items()), as_json)


@nodes.command("rotate")
@click.argument("device")
@click.option(
    "--public-key", required=True, type=click.Path(path_type=Path), help="node.pub.next of `edge-agent keys rotate`."
)
@existing_home_option
@json_option
def rotate(device: str, public_key: Path, home: Path, as_json: bool) -> None:
    """Accept DEVICE's next key, and refuse the one that it had."""
    from coordinator.shell.enrol import rotate as run

    done = run(home, device, public_key)
    show({"device": done.name, "node": str(done.node)}, f"{done.name} is node {done.node} now", as_json)


@nodes.command("revoke")
@click.argument("device")
@existing_home_option
@json_option
def revoke(device: str, home: Path, as_json: bool) -> None:
    """Refuse DEVICE from now on."""
    from coordinator.shell.enrol import revoke as run

    done = run(home, device)
    show({"device": done.name, "revoked": True}, f"revoked {done.name}", as_json)


@nodes.command("ls")
@existing_home_option
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
@click.option("--days", default=7.0, show_default=True, type=FiniteRange(min=0.0, min_open=True))
@existing_home_option
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
@existing_home_option
@json_option
def release(device: str, reason: str, home: Path, as_json: bool) -> None:
    """Ask DEVICE again, and count its reports from nothing."""
    import msgspec

    from coordinator.shell.quarantine_store import QuarantineStore

    entry = QuarantineStore(home).release(device, reason)
    show(msgspec.to_builtins(entry), f"{device} is asked again", as_json)


@nodes.command("audit")
@click.argument("device", default="")
@existing_home_option
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
