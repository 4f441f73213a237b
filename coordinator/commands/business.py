"""`edge-coordinator business`: what decisions bring, by arm and segment, and what privacy costs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.options import existing_home_option, json_option
from coordinator.commands.options import show as tell
from coordinator.commands.sums import collude_option, grace_option, vanish_option
from firmware_configs.cli_group import FiniteRange

if TYPE_CHECKING:
    from coordinator.business import Release

width_option = click.option(
    "--width",
    default=0.05,
    show_default=True,
    type=FiniteRange(0.0, 1.0, min_open=True, max_open=True),
    help="Of an interval, as a share of the metric's range: how many observations would it take?",
)


@click.group()
def business() -> None:
    """Conversion, retention and value by arm and segment, from the devices' own sums.

    The sums are those of the profile's [[metric]]s, and leave devices only where the profile has an [[egress]] of kind
    metric. A release is bounded, blurred and accounted for as that egress says; reading it again costs nothing.

    \b
    edge-coordinator business release shop.toml
    edge-coordinator business show shop --width 0.02
    """


@business.command()
@click.argument("profile", type=click.Path(path_type=Path))
@click.option("--cells", is_flag=True, help="Also each arm with each segment; everything is then told less sharply.")
@click.option("--from", "reports", type=click.Path(path_type=Path), help="Reports as JSON lines, not the broker's.")
@click.option("--minimum-reports", default=3, show_default=True, type=click.IntRange(3),
              help="Of a secret sum: fewer devices tell nothing.")  # fmt: skip
@vanish_option
@collude_option
@click.option("--join-s", default=30.0, show_default=True, help="Of a secret sum: seconds to wait for devices.")
@click.option("--deadline-s", default=60.0, show_default=True, help="Of a secret sum: seconds to wait at each stage.")
@grace_option
@width_option
@existing_home_option
@json_option
def release(
    profile: Path,
    cells: bool,
    reports: Path | None,
    minimum_reports: int,
    vanish: float,
    collude: float,
    join_s: float,
    deadline_s: float,
    grace_s: float,
    width: float,
    home: Path,
    as_json: bool,
) -> None:
    """Add up what devices that run PROFILE have told, account for it, and tell it.

    Where the profile lets metrics out in a secret sum alone (secret_sum = true), the devices are asked to make it now.
    """
    from coordinator.shell.business import Patience
    from coordinator.shell.business import release as run

    patience = Patience(
        minimum_reports=minimum_reports,
        vanish=vanish,
        collude=collude,
        join_s=join_s,
        deadline_s=deadline_s,
        grace_s=grace_s,
    )

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    _tell(run(home, profile, cells=cells, reports=reports, patience=patience, say=say), width, as_json)


@business.command()
@click.argument("name")
@width_option
@existing_home_option
@json_option
def show(name: str, width: float, home: Path, as_json: bool) -> None:
    """Tell the newest release of the profile called NAME again; nobody is asked, nothing is spent."""
    from coordinator.shell.business import newest

    _tell(newest(home, name), width, as_json)


@business.command("ls")
@existing_home_option
@json_option
def list_releases(home: Path, as_json: bool) -> None:
    """List profiles of which something was released."""
    from coordinator.shell.business import known

    rows = [
        {"profile": one.plan.profile, "release": one.number, "groups": len(one.plan.groups), "privacy": one.privacy}
        for one in known(home)
    ]
    lines = [f"{row['profile']:<24} release {row['release']}, {row['groups']} groups; {row['privacy']}" for row in rows]
    tell(rows, "\n".join(lines) or "nothing was released: edge-coordinator business release PROFILE", as_json)


def _tell(found: "Release", width: float, as_json: bool) -> None:
    import msgspec

    from coordinator.business import read, told

    figures = read(found, width)
    data = {
        "profile": found.plan.profile,
        "version": found.plan.version,
        "release": found.number,
        "devices": found.devices,
        "privacy": found.privacy,
        "epsilon": found.epsilon,
        "noise": found.noise,
        "k_min": found.plan.egress.k_min,
        "figures": msgspec.to_builtins(figures),
        "refused": found.refused,
    }
    tell(data, "\n".join(told(found, figures, width)), as_json)
