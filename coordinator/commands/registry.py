"""`edge-coordinator registry`: what is published, and looking after it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from coordinator.commands import ceremony
from coordinator.commands.options import existing_home_option, home_option, json_option, show
from coordinator.commands.registry_keys import keys_option, missing_lines, opened, passphrase_option


@click.group()
def registry() -> None:
    """The signed registry of bundles, profiles and experiments."""


for _command in (
    ceremony.init,
    ceremony.key,
    ceremony.sign,
    ceremony.rotate,
    ceremony.renew,
    ceremony.approvers,
):
    registry.add_command(_command)


@registry.command("publish")
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--fleet", "fleets", multiple=True, help="Only this fleet may run it; repeat. A document needs one.")
@click.option("--experiment", is_flag=True, help="The .toml holds experiments, not a whole profile.")
@click.option("--version", default="", help="Of experiments, which do not say it themselves.")
@click.option("--approved", is_flag=True, help="A profile that widens collection: the fleet's approvers must sign it.")
@keys_option
@passphrase_option
@home_option
@json_option
def publish(
    path: Path,
    fleets: Sequence[str],
    experiment: bool,
    version: str,
    approved: bool,
    keys: Sequence[Path],
    passphrase_file: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Sign the bundle (.edgeward), or a fleet's profile or experiments (.toml), at PATH into the registry."""
    own = opened(home, keys, passphrase_file)
    if path.suffix == ".toml":
        if len(fleets) != 1:
            raise click.UsageError("a profile or experiments belong to one fleet: --fleet NAME")
        kind = "experiment" if experiment else "profile"
        file, missing = own.publish_document(path, kind, fleets[0], version, approved=approved)  # type: ignore[arg-type]
        row: dict[str, Any] = {"path": file.path, "bytes": file.length, "sha256": file.hashes["sha256"]}
        text = f"published {file.path} ({file.length:,} bytes)"
    else:
        done = own.publish(path, fleets=fleets)
        missing = dict.fromkeys(done.pending, 1)
        row = {"bundle": done.bundle, "version": done.version, "bytes": done.bytes, "sha256": done.sha256}
        text = f"published {done.bundle} {done.version} ({done.bytes:,} bytes)"
    show({**row, "pending": sorted(missing)}, "\n".join([text, *missing_lines(missing)]), as_json)


@registry.command("ls")
@click.option("--roles", is_flag=True, help="Roles: keys, thresholds, expiry.")
@click.option("--pending", is_flag=True, help="What waits for signatures.")
@existing_home_option
@json_option
def list_registry(roles: bool, pending: bool, home: Path, as_json: bool) -> None:
    """List what is published; or the roles; or what waits for signatures."""
    own = opened(home)
    if roles:
        ceremony.list_roles(own, as_json)
        return
    if pending:
        ceremony.list_pending(own, as_json)
        return
    rows = [
        {
            "bundle": t.bundle,
            "version": t.version,
            "bytes": t.bytes,
            "sha256": t.sha256,
            "fleets": list(t.fleets),
            "attested": t.attested,
        }
        for t in own.published()
    ]
    documents = [{"path": f.path, "bytes": f.length, "sha256": f.hashes["sha256"]} for f in own.documents()]
    lines = [f"{r['bundle']:<20} {r['version']:<12} {r['bytes']:>12,}  {str(r['sha256'])[:16]}…" for r in rows]
    lines += [f"{d['path']:<33} {d['bytes']:>12,}  {str(d['sha256'])[:16]}…" for d in documents]
    show([*rows, *documents], "\n".join(lines) or "nothing is published", as_json)


@registry.command("root")
@click.option("--number", default=0, type=click.IntRange(0), help="Of the chain; 0: the newest.")
@existing_home_option
def root(number: int, home: Path) -> None:
    """Print the trusted root that devices are given (registry.trusted_root in agent.toml)."""
    from coordinator.shell.repository import pretty, read

    click.echo(pretty(read(opened(home).repository.root_path(number))))


@registry.command("verify")
@existing_home_option
@json_option
def verify(home: Path, as_json: bool) -> None:
    """Walk through the whole repository as a client, and say what is wrong. Exit code 1 when something is."""
    import msgspec

    from coordinator.shell.verifying import verify as run

    found = run(opened(home))
    lines = [f"{one.level:<8} {one.where}: {one.what}\n  fix: {one.fix}" for one in found]
    show([msgspec.to_builtins(one) for one in found], "\n".join(lines) or "all is well", as_json)
    if any(one.level == "error" for one in found):
        raise SystemExit(1)


@registry.command("gc")
@click.option("--keep", default=5, show_default=True, type=click.IntRange(1), help="Newest versions of each bundle.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--offline", is_flag=True, help="Do not ask the broker; go by what was heard of devices so far.")
@keys_option
@passphrase_option
@existing_home_option
@json_option
def collect(
    keep: int,
    dry_run: bool,
    offline: bool,
    keys: Sequence[Path],
    passphrase_file: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Remove old versions: never what a device runs or is to run, nor the version before it."""
    from coordinator.shell.fleet_store import FleetStore
    from coordinator.shell.running import reported_now
    from coordinator.shell.sweeping import in_use, returned_to, sweep

    views = FleetStore(home).views()
    told = [view.reported for view in views if view.reported is not None]
    told += [] if offline else list(reported_now(home).values())
    needed = in_use([view.desired for view in views], told) | returned_to(home)
    done = sweep(opened(home, keys, passphrase_file), keep, needed, dry_run=dry_run)
    word = "would remove" if dry_run else "removed"
    lines = [f"{word} {bundle} {version}" for bundle, version in done.versions]
    lines += [f"{word} {done.files} files, {done.bytes:,} bytes", *missing_lines(done.missing)]
    row = {"versions": done.versions, "files": done.files, "bytes": done.bytes, "dry_run": dry_run}
    show({**row, "pending": sorted(done.missing)}, "\n".join(lines), as_json)
