"""`rules`: what a profile's rules would do."""

from pathlib import Path

import click

from edge_agent.commands.options import json_option, show

EXAMPLES = """
\b
Examples:
  edge-agent rules test profile.toml --cases cases.toml
  edge-agent rules test profile.toml --settings agent.toml --brief
  edge-agent rules test next.toml --cases mornings.jsonl --cases nights.json --json

\b
A case, as TOML (JSON and JSON lines take the same keys):
  [[case]]
  name = "no lamp by daylight"
  placement = "presence"
  hour = 14
  fields = { light = 900.0, co2 = 600.0 }
  expect = { denied = ["lights-on"], fired = ["bright-enough"], stopped = false }
"""


@click.group()
def rules() -> None:
    """What a profile's rules would do."""


@rules.command("test", epilog=EXAMPLES)
@click.argument("profile", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--cases", "files", multiple=True, type=click.Path(path_type=Path, dir_okay=False), help="Cases; repeat.")
@click.option(
    "--settings",
    "settings_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings of a device that records (`record = true`): its events, decided again by this profile.",
)
@click.option("--brief", is_flag=True, help="Tell only the cases that failed, and how often each rule was true.")
@json_option
@click.pass_context
def run_rules(
    ctx: click.Context, profile: Path, files: tuple[Path, ...], settings_path: Path | None, brief: bool, as_json: bool
) -> None:
    """Ask the rules of PROFILE about cases, or about what a device has recorded; nothing is sent or kept.

    Told are the rules that applied to each case, and for each rule how often it was true, false, failed, and changed
    what could be chosen. Exit code 1 when an expectation fails.
    """
    from edge_agent.shell.rehearse import as_data, in_words, read_cases, rehearse_cases, rehearse_recorded
    from firmware_configs.errors import UsageError
    from firmware_configs.loader import load

    if bool(files) == bool(settings_path):
        raise UsageError("either cases or a device is to be asked about", hint="give --cases FILE or --settings FILE")
    loaded = load(profile)
    if settings_path is not None:
        found = rehearse_recorded(loaded, settings_path)
    else:
        found = rehearse_cases(loaded.profile, [case for path in files for case in read_cases(path)])
    show(as_data(found), "\n".join(in_words(found, brief=brief)), as_json)
    ctx.exit(1 if found.failed else 0)
