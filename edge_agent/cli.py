"""`edge-agent`: the daemon, and what an operator asks of it."""

import json
import os
from pathlib import Path
from typing import Any

import click

from firmware_configs.cli_group import JSON_HELP, EdgeGroup

DEFAULT_STATE = "/var/lib/edgeward"

json_option = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
state_option = click.option(
    "--state-dir",
    default=DEFAULT_STATE,
    show_default=True,
    envvar="EDGE_AGENT_STATE_DIR",
    type=click.Path(path_type=Path),
    help="The agent's folder (state_dir in agent.toml).",
)
settings_option = click.option(
    "--settings",
    "settings_path",
    default="agent.toml",
    show_default=True,
    envvar="EDGE_AGENT_SETTINGS",
    type=click.Path(path_type=Path),
    help="Settings file; every option: firmware_configs/reference/agent.toml.",
)
profile_option = click.option(
    "--profile", type=click.Path(path_type=Path), help="Device profile; overrides the settings' own."
)


@click.group(
    "edge-agent",
    cls=EdgeGroup,
    examples="""
    edge-agent check firmware_configs/profiles/home-gateway.toml
    edge-agent keys new --state-dir ./state
    edge-agent run --settings agent.toml
    edge-agent status --state-dir ./state
    edge-agent explain 3f2a91 --state-dir ./state
    EDGE_AGENT_BROKER__URL=mqtt://10.0.0.2:1883 edge-agent run
    """,
)
def main() -> None:
    """Decide where the events are: MQTT in, decisions out, learning in place."""


@main.command()
@settings_option
@profile_option
def run(settings_path: Path, profile: Path | None) -> None:
    """Run the agent until SIGTERM. Settings can be overridden by EDGE_AGENT_* variables."""
    from edge_agent.errors import SettingsError
    from edge_agent.settings import load as load_settings
    from edge_agent.shell.run import Loop
    from firmware_configs.loader import load

    settings = load_settings(settings_path, os.environ)
    chosen = profile or (Path(settings.profile) if settings.profile else None)
    if chosen is None:
        raise SettingsError("no device profile", hint="pass --profile FILE, or set profile in agent.toml")
    Loop(settings, load(chosen)).run()


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--bundle", "bundles", multiple=True, type=click.Path(path_type=Path), help="Bundle that must fit; repeat."
)
@json_option
def check(path: Path, bundles: tuple[Path, ...], as_json: bool) -> None:
    """Check a profile or a settings file (PATH). Exit code 2 when it cannot be used.

    With --bundle, also whether the profile collects what the bundle needs and allows its version.
    """
    import tomllib

    from edge_agent.errors import SettingsMalformed
    from edge_agent.settings import load as load_settings
    from firmware_configs import strict
    from firmware_configs.loader import load

    text = strict.read_text(path, SettingsMalformed)
    try:
        is_settings = "state_dir" in tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        is_settings = False
    if is_settings:
        settings = load_settings(path, {})
        _print(
            {"settings": str(path), "device": settings.device}, f"{path}: settings of {settings.device}, fine", as_json
        )
        return
    loaded = load(path)
    for bundle in bundles:
        _check_bundle(loaded.profile, bundle)
    profile = loaded.profile
    data = {"profile": profile.name, "version": profile.version, "hash": loaded.hash, "bundles": len(bundles)}
    words = f"{len(profile.source)} sources, {len(profile.placement)} placements"
    _print(data, f"{path}: profile {profile.name} {profile.version}, {words}, fine", as_json)


def _check_bundle(profile: Any, path: Path) -> None:
    from packaging.specifiers import SpecifierSet

    from firmware_configs.errors import ProfileInconsistent
    from models.bundle import open_bundle

    spec = open_bundle(path).spec
    model = next((m for m in profile.model if m.name == spec.name), None)
    if model is None:
        raise ProfileInconsistent(f"{profile.name} has no model `{spec.name}`", hint="add a [[model]]")
    if not SpecifierSet(model.versions).contains(spec.version, prereleases=True):
        raise ProfileInconsistent(
            f"{spec.name} {spec.version} is not within `{model.versions}`",
            hint="widen `versions`, or take another bundle",
        )
    collected = {field.name for source in profile.source for field in source.field}
    if missing := sorted(set(spec.needed_fields) - collected):
        raise ProfileInconsistent(
            f"{spec.name} needs {', '.join(missing)}, which {profile.name} does not collect",
            hint="collect them, or build a bundle without them",
        )


@main.command()
@click.argument("decision")
@state_option
@json_option
def explain(decision: str, state_dir: Path, as_json: bool) -> None:
    """Tell how DECISION (its id, or the first six or more digits of it) came about."""
    import msgspec

    from edge_agent.shell.inspect import in_words, trail

    found = trail(state_dir, decision)
    _print(msgspec.to_builtins(found), "\n".join(in_words(found)), as_json)


@main.command()
@settings_option
@profile_option
@json_option
@click.pass_context
def replay(ctx: click.Context, settings_path: Path, profile: Path | None, as_json: bool) -> None:
    """Run the recorded events again and compare every decision. Exit code 1 when one differs or is missing."""
    import msgspec

    from edge_agent.settings import load as load_settings
    from edge_agent.shell.clock import local_hours
    from edge_agent.shell.record import replay as again
    from firmware_configs.loader import load

    settings = load_settings(settings_path, os.environ)
    loaded = load(profile or Path(settings.profile))
    hours = local_hours(settings.timezone)
    found = again(Path(settings.state_dir), loaded, settings.device, hours, settings.bundles)
    lines = [f"{found.happenings} happenings, {found.decisions} decisions, {len(found.differences)} differences"]
    lines += [f"  {d.id} {d.field}: recorded {d.recorded}, replayed {d.replayed}" for d in found.differences[:20]]
    if found.missing:
        lines.append(f"  {len(found.missing)} decisions were not made again (is one of their bundles gone?)")
    _print(msgspec.to_builtins(found), "\n".join(lines), as_json)
    ctx.exit(1 if found.differences or found.missing else 0)


@main.command()
@state_option
@json_option
def status(state_dir: Path, as_json: bool) -> None:
    """What the agent runs, counted and holds."""
    from edge_agent.shell.inspect import status as read

    found = read(state_dir)
    lines = [f"bundles    {', '.join(f'{n} {v}' for n, v in found['bundles'].items()) or 'none'}"]
    lines.append(f"round      {found['round']['run'] or 'none yet'} {found['round']['state']}")
    lines.append(f"waiting    {found['waiting']} messages for the broker")
    lines.append(f"holds      {found['subjects']} profiles, {found['rows'].get('example', 0)} examples")
    lines += [f"{name:<28} {count:>10,}" for name, count in sorted(found["counters"].items())]
    _print(found, "\n".join(lines), as_json)


@main.command()
@state_option
@json_option
@click.pass_context
def ledger(ctx: click.Context, state_dir: Path, as_json: bool) -> None:
    """What left this device, by kind, in bytes. Exit code 1 when the chain is broken."""
    from edge_agent.shell.inspect import ledger_summary

    found = ledger_summary(state_dir)
    lines = [f"{kind:<14} {size:>12,} bytes" for kind, size in sorted(found["bytes"].items())]
    broken = found["broken_at"]
    lines.append(f"{found['entries']:,} entries, " + ("chain whole" if broken is None else f"chain broken at {broken}"))
    _print(found, "\n".join(lines), as_json)
    ctx.exit(0 if broken is None else 1)


@main.group()
def keys() -> None:
    """This device's keys."""


@keys.command("new")
@state_option
@click.option("--force", is_flag=True, help="Replace a key that is there; the device must be enrolled again.")
@json_option
def new_key(state_dir: Path, force: bool, as_json: bool) -> None:
    """Make this device's node key: node.key stays here, node.pub goes to `edge-coordinator nodes enrol`."""
    from edge_agent.shell.keys import make

    private, public = make(state_dir, force=force)
    _print(
        {"private": str(private), "public": str(public)}, f"{private} (keep it here)\n{public} (enrol this)", as_json
    )


def _print(data: Any, text: str, as_json: bool) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False) if as_json else text)


if __name__ == "__main__":
    main()
