"""`edge-coordinator registry`: the signed registry of bundles."""

from pathlib import Path

import click

from coordinator.commands.options import home_option, json_option, show


@click.group()
def registry() -> None:
    """The signed registry of bundles."""


@registry.command("publish")
@click.argument("path", type=click.Path(path_type=Path))
@home_option
@json_option
def publish(path: Path, home: Path, as_json: bool) -> None:
    """Sign the bundle at PATH into the registry."""
    from coordinator.shell.train import publish as run

    done = run(home, path)
    show(
        {"bundle": done.bundle, "version": done.version, "bytes": done.bytes, "sha256": done.sha256},
        f"published {done.bundle} {done.version} ({done.bytes:,} bytes)",
        as_json,
    )


@registry.command("ls")
@home_option
@json_option
def list_registry(home: Path, as_json: bool) -> None:
    """List published bundles."""
    from coordinator.shell.registry_store import Registry

    found = Registry.existing(home).published()
    rows = [{"bundle": t.bundle, "version": t.version, "bytes": t.bytes, "sha256": t.sha256} for t in found]
    lines = [f"{t.bundle:<20} {t.version:<12} {t.bytes:>12,}  {t.sha256[:16]}…" for t in found]
    show(rows, "\n".join(lines) or "nothing is published", as_json)


@registry.command("root")
@home_option
def root(home: Path) -> None:
    """Print the trusted root that devices are given (registry.trusted_root in agent.toml)."""
    from coordinator.shell.registry_store import Registry

    click.echo(Registry.existing(home).root_path.read_text())
