"""`edge-coordinator bandit`: what policies learn on devices, put together."""

from pathlib import Path
from typing import Any

import click

from coordinator.commands.options import existing_home_option, json_option, show
from coordinator.commands.sums import grace_option
from firmware_configs.cli_group import FiniteRange


@click.group()
def bandit() -> None:
    """What policies that learn have seen on devices, put together as a beginning for new ones."""


@bandit.command()
@click.argument("bundle")
@click.option("--placement", required=True, help="Whose policy is asked, as the devices' profile names it.")
@click.option(
    "--kind",
    default="regressions",
    show_default=True,
    type=click.Choice(["regressions", "rewards"]),
    help="regressions: of lin-ucb, lin-thompson and square-cb; rewards by item: of the others.",
)
@click.option(
    "--scale",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML: [features], then COLUMN = { mean = 0.0, deviation = 1.0 } for each; default: as the bundle declares.",
)
@click.option(
    "--rewards-max", default=0.0, type=FiniteRange(0.0), help="An item's beginning counts for at most; 0: all."
)
@click.option("--minimum-reports", default=3, show_default=True, type=click.IntRange(1), help="Fewer tell nothing.")
@click.option(
    "--clip-norm",
    default=0.0,
    type=FiniteRange(0.0),
    help="L2 norm of a device's sums; default: none, or 1000 with --secret-sum or --epsilon-max.",
)
@click.option("--secret-sum", is_flag=True, help="The coordinator sees the sum and no single device's.")
@click.option("--secret-bits", default=20, show_default=True, type=click.IntRange(2, 24), help="With --secret-sum.")
@click.option(
    "--vanish",
    default=0.25,
    show_default=True,
    type=FiniteRange(0.0, 1.0, max_open=True),
    help="With --secret-sum: share that may vanish.",
)
@click.option(
    "--collude",
    default=0.0,
    show_default=True,
    type=FiniteRange(0.0, 1.0, max_open=True),
    help="With --secret-sum: share that may work with the coordinator.",
)
@click.option("--epsilon-max", default=0.0, type=FiniteRange(0.0), help="The population's budget for this bundle.")
@click.option(
    "--delta",
    default=1e-5,
    show_default=True,
    type=FiniteRange(0.0, 1.0, min_open=True, max_open=True),
    help="With --epsilon-max.",
)
@click.option(
    "--noise", default=0.0, type=FiniteRange(0.0), help="Multiplier; default: the least that the budget allows."
)
@click.option("--population", default="all", show_default=True, help="Whose budget is spent.")
@click.option("--join-s", default=30.0, show_default=True, type=FiniteRange(0.0), help="Seconds to wait for devices.")
@click.option(
    "--deadline-s",
    default=60.0,
    show_default=True,
    type=FiniteRange(0.0, min_open=True),
    help="Seconds to wait for sums.",
)
@grace_option
@existing_home_option
@json_option
def merge(home: Path, as_json: bool, **given: Any) -> None:
    """Add up what a placement's policy has seen on devices, and publish BUNDLE with it as the beginning.

    The sums leave devices as an egress of kind `statistic`. Nothing is deployed. Exit code 1 when too few devices told
    sums: nothing is published then.

    \b
    edge-coordinator bandit merge affinity --placement evening-pick --kind rewards --minimum-reports 10
    edge-coordinator bandit merge context --placement lamp --scale scale.toml --secret-sum --epsilon-max 4
    """
    import msgspec

    from coordinator.shell.merging import Asked
    from coordinator.shell.merging import merge as run

    done = run(home, Asked(**given), lambda line: click.echo(line, err=as_json))
    text = (
        f"{done.bundle} {done.version} → {done.published}: {done.rewards:,.1f} rewards of {done.items:,} items, from "
        f"{done.devices:,} devices ({done.numbers:,} numbers each)\n{done.privacy}\n"
        f"deploy it: edge-coordinator deploy {done.bundle} {done.published}"
    )
    show(msgspec.to_builtins(done), text, as_json)
