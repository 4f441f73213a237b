"""The coordinator as systemd services: `install-service` and `uninstall-service`."""

from collections.abc import Sequence
from pathlib import Path

import click

prefix_option = click.option(
    "--prefix", type=click.Path(path_type=Path, file_okay=False), help="Write below DIR and run nothing, for images."
)


@click.command("install-service")
@click.option("--user", default="edgeward-coordinator", show_default=True, help="System user that it runs as.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104 - devices come in
@click.option("--name", "names", multiple=True, help="DNS name or address under which devices reach it; repeat.")
@click.option("--broker", default="mosquitto", show_default=True, help="As of `up`.")
@click.option("--broker-port", default=8883, show_default=True, type=click.IntRange(1_024, 65_535))
@click.option(
    "--port", default=8443, show_default=True, type=click.IntRange(1_024, 65_535), help="Of registry and rounds."
)
@click.option(
    "--replies",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="As of `up`; a folder below the service's home.",
)
@click.option("--dashboard", is_flag=True, help="Also the unit that serves the dashboard, by TLS.")
@click.option("--dashboard-port", default=8500, show_default=True, type=click.IntRange(1_024, 65_535))
@click.option("--now", is_flag=True, help="Enable and start it.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--print", "print_unit", is_flag=True, help="Print the unit only.")
@prefix_option
def install_service(
    user: str,
    host: str,
    names: Sequence[str],
    broker: str,
    broker_port: int,
    port: int,
    replies: Path | None,
    dashboard: bool,
    dashboard_port: int,
    now: bool,
    dry_run: bool,
    print_unit: bool,
    prefix: Path | None,
) -> None:
    """Install this coordinator as a hardened systemd service: unit, user, and the dashboard where it is asked for.

    \b
    sudo edge-coordinator install-service --name fleet.example.org --dashboard --now
    edge-coordinator install-service --name fleet.example.org --dry-run
    """
    from coordinator.shell import service
    from firmware_configs.service import in_words, install

    named = [word for name in names for word in ("--name", name)]
    where = ["--host", host, *named]
    up = [*where, "--broker", broker, "--broker-port", str(broker_port), "--port", str(port)]
    if replies is not None:
        up += ["--replies", str(service.replies_folder(replies))]
    pages = [*where, "--port", str(dashboard_port), "--tls"] if dashboard else None
    plan = service.plan(user, service.own_command(), up, pages, start=now)
    if print_unit:
        click.echo(plan.files[0].content, nl=False)
    elif dry_run:
        click.echo("\n".join(in_words(plan)))
    else:
        click.echo("\n".join(install(plan, prefix)))


@click.command("uninstall-service")
@click.option("--purge", is_flag=True, help="Remove the home, too: keys, registry, database.")
@prefix_option
def uninstall_service(purge: bool, prefix: Path | None) -> None:
    """Stop coordinator and dashboard and remove their units; the home stays."""
    from coordinator.shell import service

    click.echo("\n".join(service.uninstall(prefix, purge=purge)))
