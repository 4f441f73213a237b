"""What an operator asks of an agent, running or not: `status`, `explain`, `replay`."""

import os
from pathlib import Path

import click

from edge_agent.commands.options import (
    json_option,
    profile_option,
    reason_option,
    settings_option,
    show,
    state_option,
)

WATCH_S = 2.0


@click.command()
@click.argument("decision", required=False)
@click.option("--event", default="", help="All that was decided about this event, and why something was not.")
@click.option("--last", "placement", default="", help="The newest decision of this placement, and why none came since.")
@reason_option
@state_option
@json_option
def explain(decision: str | None, event: str, placement: str, reason: str, state_dir: Path, as_json: bool) -> None:
    """Tell how DECISION (its id, or the first six or more digits of it) came about; or why nothing was decided.

    \b
    Examples:
      edge-agent explain 3f2a91
      edge-agent explain --event 8812-17
      edge-agent explain --last presence --json
    """
    from edge_agent.commands.telling import about
    from edge_agent.shell.access import admit
    from firmware_configs.errors import UsageError

    if sum(map(bool, (decision, event, placement))) != 1:
        raise UsageError("one of them is to be explained", hint="name a DECISION, or --event ID, or --last PLACEMENT")
    found = about(state_dir, decision or "", event, placement)
    # An event's id may hold a name; a decision's is a hash.
    what = f"explain {decision or placement or '--event'}"
    for subject in found.subjects:
        admit(state_dir, "explain", subject=subject, what=what, reason=reason)
    show(found.data, "\n".join(found.words), as_json)


@click.command()
@settings_option
@profile_option
@json_option
@click.pass_context
def replay(ctx: click.Context, settings_path: Path, profile: Path | None, as_json: bool) -> None:
    """Run the recorded events again and compare every decision. Exit code 1 when one differs or is missing."""
    import msgspec

    from edge_agent.settings import load as load_settings
    from edge_agent.shell.clock import local_hours, zoned_times
    from edge_agent.shell.record import replay as again
    from firmware_configs.loader import load

    settings = load_settings(settings_path, os.environ)
    loaded = load(profile or Path(settings.profile))
    hours = local_hours(settings.timezone)
    zoned = zoned_times(settings.timezone)
    own = settings.bundles
    found = again(Path(settings.state_dir), loaded, settings.device, hours, own, settings.home_key, zoned)
    lines = [f"{found.happenings} happenings, {found.decisions} decisions, {len(found.differences)} differences"]
    lines += [f"  {d.id} {d.field}: recorded {d.recorded}, replayed {d.replayed}" for d in found.differences[:20]]
    if found.missing:
        lines.append(f"  {len(found.missing)} decisions were not made again (is one of their bundles gone?)")
    show(msgspec.to_builtins(found), "\n".join(lines), as_json)
    ctx.exit(1 if found.differences or found.missing else 0)


@click.command()
@state_option
@json_option
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@click.option("--alive", is_flag=True, help="For health checks: exit code 1 unless an agent runs here.")
@click.pass_context
def status(ctx: click.Context, state_dir: Path, as_json: bool, watch: bool, alive: bool) -> None:
    """What the agent runs, counted and holds, and how it is; beside a running agent or without one.

    Keys of the JSON document: docs/operations.md.
    """
    import time

    import msgspec

    from edge_agent.shell.status import in_words, read

    while True:
        found = read(state_dir)
        if watch and not as_json:
            click.clear()
        show(msgspec.to_builtins(found), "\n".join(in_words(found)), as_json)
        if not watch:
            ctx.exit(1 if alive and not found.running else 0)
        try:
            time.sleep(WATCH_S)
        except KeyboardInterrupt:
            ctx.exit(0)


@click.command()
@state_option
@json_option
def experiments(state_dir: Path, as_json: bool) -> None:
    """What was measured here of each experiment: people counted in each arm, and their means."""
    from edge_agent.shell.access import check
    from edge_agent.shell.tried import in_words, read

    check(state_dir, "measure")
    found = read(state_dir)
    show(found, "\n".join(in_words(found)), as_json)
