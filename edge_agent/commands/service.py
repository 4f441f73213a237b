"""The agent as a systemd service: `install-service` and `uninstall-service`."""

from pathlib import Path

import click

prefix_option = click.option(
    "--prefix", type=click.Path(path_type=Path, file_okay=False), help="Write below DIR and run nothing, for images."
)


@click.command("install-service")
@click.option("--profile", type=click.Path(path_type=Path, dir_okay=False), help="Device profile to install along.")
@click.option("--user", default="edgeward", show_default=True, help="System user that the agent runs as.")
@click.option("--web", is_flag=True, help="Also the unit that serves the device's own page (docs/device-page.md).")
@click.option("--otlp", is_flag=True, help="Also the unit that sends metrics and traces (docs/observability.md).")
@click.option("--now", is_flag=True, help="Enable and start it.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--print", "print_unit", is_flag=True, help="Print the unit only.")
@prefix_option
def install_service(
    profile: Path | None,
    user: str,
    web: bool,
    otlp: bool,
    now: bool,
    dry_run: bool,
    print_unit: bool,
    prefix: Path | None,
) -> None:
    """Install this agent as a hardened systemd service: units, user, /etc/edgeward/agent.toml if there is none.

    A timer comes with it that renews the certificate of a device in a fleet.
    """
    from edge_agent.shell import service
    from firmware_configs.loader import load
    from firmware_configs.service import in_words

    device = load(profile).profile.device if profile is not None else None
    plan = service.plan(user, profile, device, service.own_command(), start=now, web=web, otlp=otlp)
    if print_unit:
        click.echo(plan.files[0].content, nl=False)
    elif dry_run:
        click.echo("\n".join(in_words(plan)))
    else:
        click.echo("\n".join(service.install(plan, prefix)))


@click.command("uninstall-service")
@click.option("--purge", is_flag=True, help="Remove settings and state, too: profiles, ledger, keys.")
@prefix_option
def uninstall_service(purge: bool, prefix: Path | None) -> None:
    """Stop the service and remove its unit; settings and state stay."""
    from edge_agent.shell import service

    click.echo("\n".join(service.uninstall(prefix, purge=purge)))
