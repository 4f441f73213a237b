"""`edge-coordinator fleet`: which devices there are, what they run, what is wrong, and what is wanted of them."""

from collections.abc import Sequence
from pathlib import Path

import click

from coordinator.commands.options import existing_home_option, json_option, show

where_option = click.option(
    "--where", multiple=True, help="Only devices such as tag:site=lab, group:beta, name:home-*, presence:offline."
)


@click.group()
def fleet() -> None:
    """Devices: what they run, what is wrong with them, and what is wanted of them."""


@fleet.command("ls")
@where_option
@click.option(
    "--sort",
    type=click.Choice(["name", "seen", "agent", "presence", "profile"]),
    default="name",
    show_default=True,
    help="Order; seen: the longest silent first.",
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="Devices on a page.")
@click.option("--page", default=1, show_default=True, type=click.IntRange(1), help="Which page.")
@existing_home_option
@json_option
def list_devices(where: Sequence[str], sort: str, limit: int, page: int, home: Path, as_json: bool) -> None:
    """List devices: presence, agent, profile, bundles, learning, last seen, tags."""
    from coordinator.fleet import telling
    from coordinator.fleet.selection import ordered, parse, select
    from coordinator.shell.fleet_store import FleetStore

    found = ordered(select(FleetStore(home).views(), parse(where)), sort)
    shown = found[(page - 1) * limit : page * limit]
    pages = max(1, -(-len(found) // limit))
    data = {"total": len(found), "page": page, "pages": pages, "devices": [telling.row(one) for one in shown]}
    lines = telling.table(shown, _now_ms())
    if pages > 1:
        lines.append(f"page {page} of {pages}, {len(found):,} devices; --page {page + 1} for the next")
    show(data, "\n".join(lines) if found else "no device is meant; see --where", as_json)


@fleet.command("show")
@click.argument("device")
@existing_home_option
@json_option
def show_device(device: str, home: Path, as_json: bool) -> None:
    """Show all that is known of DEVICE, and what of the wanted state does not hold there."""
    from coordinator.fleet import telling
    from coordinator.shell.fleet_store import FleetStore

    found = FleetStore(home).view(device)
    show(telling.whole(found), "\n".join(telling.in_words(found, _now_ms())), as_json)


@fleet.command("logs")
@click.argument("device")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(["status", "reported", "rejected", "alert", "presence"]),
    help="Only these; repeat.",
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 200), help="Newest rows.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@existing_home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a row.")
def logs(device: str, kinds: Sequence[str], limit: int, follow: bool, home: Path, as_json: bool) -> None:
    """Print what DEVICE said of itself, as far as its profile lets it out."""
    import json
    import time

    import msgspec

    from coordinator.fleet.telling import log_line
    from coordinator.shell.fleet_store import FleetStore
    from firmware_configs.shown import document

    store, after = FleetStore(home), 0
    store.view(device)
    while True:
        for row in store.log(device, after=after, kinds=kinds, limit=limit):
            after = row.id
            data = document(json.dumps(msgspec.to_builtins(row), ensure_ascii=False))
            click.echo(data if as_json else log_line(row.time_ms, row.kind, row.value))
        if not follow:
            if not after:
                click.echo(f"{device} has said nothing of this", err=True)
            return
        time.sleep(0.5)


@fleet.command("doctor")
@where_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.option("--agent", "newest", default="", help="Version that agents should have; default: the newest seen.")
@existing_home_option
@click.pass_context
def doctor(ctx: click.Context, where: Sequence[str], as_json: bool, newest: str, home: Path) -> None:
    """Say what is wrong in the fleet and how to mend it. Exit code 0 all well, 1 warnings or no device at all,
    2 failures.
    """
    import msgspec

    from coordinator.fleet.health import Thresholds, examine
    from coordinator.fleet.selection import parse, select
    from coordinator.fleet.telling import findings_in_words
    from coordinator.shell.fleet_store import FleetStore

    devices = select(FleetStore(home).views(), parse(where))
    found = examine(devices, _now_ms(), Thresholds(newest_agent=newest))
    code = 2 if any(one.severity == "failure" for one in found) else int(bool(found) or not devices)
    data = {"exit_code": code, "devices": len(devices), "findings": msgspec.to_builtins(found)}
    show(data, "\n".join(findings_in_words(found, len(devices))), as_json)
    ctx.exit(code)


@fleet.command("tag")
@click.argument("words", nargs=-1, required=True, metavar="[DEVICE]... KEY=VALUE|KEY-...")
@where_option
@existing_home_option
@json_option
def tag(words: Sequence[str], where: Sequence[str], home: Path, as_json: bool) -> None:
    """Set tags of devices, which are named or chosen with --where; KEY- takes one away."""
    from coordinator.fleet.selection import tag as read
    from coordinator.shell.fleet_store import FleetStore

    names = [word for word in words if "=" not in word and not word.endswith("-")]
    changes = dict(read(word) for word in words if word not in names)
    if not changes:
        raise click.UsageError("no KEY=VALUE is given")
    store = FleetStore(home)
    chosen = _chosen(home, names, where)
    store.tag(chosen, changes)
    show({"devices": chosen, "tags": changes}, f"tagged {len(chosen)} devices", as_json)


@fleet.command("group")
@click.argument("name", required=False)
@click.argument("devices", nargs=-1)
@click.option("--remove", is_flag=True, help="Take them out instead.")
@where_option
@existing_home_option
@json_option
def group(
    name: str | None, devices: Sequence[str], remove: bool, where: Sequence[str], home: Path, as_json: bool
) -> None:
    """Put DEVICES, or those that --where chooses, into group NAME; without a name: list groups."""
    from coordinator.fleet.selection import word
    from coordinator.shell.fleet_store import FleetStore

    store = FleetStore(home)
    if name is None:
        held = store.groups()
        lines = [f"{one:<24} {len(members):>6} devices" for one, members in held.items()]
        show(held, "\n".join(lines) or "no group yet", as_json)
        return
    word(name, "a group")
    chosen = _chosen(home, devices, where)
    (store.leave if remove else store.join)(name, chosen)
    now = store.groups().get(name, [])
    show({"group": name, "devices": now}, f"{name}: {len(now)} devices", as_json)


@fleet.command("want")
@click.argument("devices", nargs=-1)
@click.option("--bundle", "bundles", multiple=True, metavar="NAME=VERSION", help="Bundle to run; repeat.")
@click.option("--profile", metavar="NAME=VERSION", help="Profile to run, of the registry.")
@click.option("--experiment", metavar="NAME=VERSION", help="Experiments to run, of the registry.")
@click.option("--window", "windows", multiple=True, help="Maintenance window, such as `daily 02:00-05:00`; repeat.")
@click.option("--any-time", is_flag=True, help="Take back the windows that were wanted.")
@click.option("--if-revision", type=click.IntRange(0), help="Only if this is the newest revision.")
@where_option
@existing_home_option
@json_option
def want(
    devices: Sequence[str],
    bundles: Sequence[str],
    profile: str | None,
    experiment: str | None,
    windows: Sequence[str],
    any_time: bool,
    if_revision: int | None,
    where: Sequence[str],
    home: Path,
    as_json: bool,
) -> None:
    """Change what is wanted of DEVICES, or of those that --where chooses."""
    from coordinator.shell.wanting import want as run

    documents = {kind: text for kind, text in (("profile", profile), ("experiment", experiment)) if text is not None}
    if not bundles and not documents and not windows and not any_time:
        raise click.UsageError("nothing is wanted: pass --bundle, --profile, --experiment, --window or --any-time")
    chosen = _chosen(home, devices, where)
    told = run(home, chosen, bundles, () if any_time else windows or None, if_revision, documents)
    data = {name: desired.revision for name, desired in told.items()}
    show({"revisions": data}, f"told {len(told)} devices", as_json)


@fleet.command("profile")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("devices", nargs=-1)
@where_option
@existing_home_option
@json_option
def give_profile(file: Path, devices: Sequence[str], where: Sequence[str], home: Path, as_json: bool) -> None:
    """Say that DEVICES run the profile FILE: what they may read and write at the broker follows from it."""
    from coordinator.fleet.access import topology
    from coordinator.shell.fleet_store import FleetStore
    from coordinator.shell.mosquitto import write_access
    from firmware_configs.loader import load

    topics = topology(load(file).profile)
    chosen = _chosen(home, devices, where)
    FleetStore(home).give_profile(topics, chosen)
    write_access(home)
    show({"profile": topics.name, "devices": chosen}, f"{topics.name}: {len(chosen)} devices", as_json)


@fleet.command("acl")
@click.option(
    "--for",
    "broker",
    type=click.Choice(["mosquitto", "embedded"]),
    default="mosquitto",
    show_default=True,
    help="Which broker's words.",
)
@existing_home_option
@json_option
def acl(broker: str, home: Path, as_json: bool) -> None:
    """Print who may read and write which topics, from enrolment, profiles and apps' roles."""
    from coordinator.errors import BrokerUnfit
    from coordinator.shell.mosquitto import of_devices

    if broker == "embedded":
        raise BrokerUnfit(
            "the embedded broker has no access lists, and asks nobody for a certificate",
            hint="keep it on this machine, or run mosquitto: edge-coordinator up --broker mosquitto",
        )
    text = of_devices(home)
    show({"broker": broker, "acl": text.splitlines()}, text.rstrip(), as_json)


@fleet.command("sync")
@click.argument("devices", nargs=-1)
@where_option
@existing_home_option
@json_option
def sync(devices: Sequence[str], where: Sequence[str], home: Path, as_json: bool) -> None:
    """Say again what is wanted of DEVICES, numbered above what they report: mends revisions that stick."""
    from coordinator.shell.wanting import sync as run

    told = run(home, _chosen(home, devices, where))
    data = {name: desired.revision for name, desired in told.items()}
    show({"revisions": data}, f"told {len(told)} devices", as_json)


def _chosen(home: Path, names: Sequence[str], where: Sequence[str]) -> list[str]:
    """The devices that are named, or chosen; one of both must be given.

    Raises:
        UnknownDevice: one that is named is not enrolled, or is revoked.
    """
    from coordinator.errors import UnknownDevice
    from coordinator.fleet.selection import parse, select
    from coordinator.shell.fleet_store import FleetStore

    if not names and not where:
        raise click.UsageError("name devices, or choose them with --where")
    good = [view for view in FleetStore(home).views() if not view.revoked]
    known = {view.name for view in good}
    for name in names:
        if name not in known:
            raise UnknownDevice(f"no device `{name}` is enrolled", hint="see: edge-coordinator fleet ls")
    return list(dict.fromkeys([*names, *(view.name for view in select(good, parse(where)) if where)]))


def _now_ms() -> int:
    import time

    return int(time.time() * 1_000)
