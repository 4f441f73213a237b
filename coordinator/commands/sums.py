"""What the commands have in common that add up in secret what a profile declares: `bias`, `drift`, `business`."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from firmware_configs.cli_group import FiniteRange
from firmware_configs.errors import UsageError

grace_option = click.option(
    "--grace-s",
    default=15.0,
    show_default=True,
    type=FiniteRange(0.0),
    help="Of a secret sum: seconds that a stage waits after an answer, once all but --vanish have answered; 0: all of "
    "--deadline-s.",
)
vanish_option = click.option(
    "--vanish",
    default=0.25,
    show_default=True,
    type=FiniteRange(0.0, 0.9),
    help="Share of the devices that may vanish while a secret sum is made.",
)
collude_option = click.option(
    "--collude",
    default=0.0,
    show_default=True,
    type=FiniteRange(0.0, 1.0, max_open=True),
    help="Share of the devices that may work with the coordinator in a secret sum.",
)
_OPTIONS = (
    click.option("--last", "again", is_flag=True, help="Tell what was found last; nobody is asked, nothing is spent."),
    click.option("--minimum-reports", default=3, show_default=True, type=click.IntRange(3), help="Fewer tell nothing."),
    vanish_option,
    collude_option,
    click.option("--join-s", default=30.0, show_default=True, help="Seconds to wait for devices."),
    click.option("--deadline-s", default=60.0, show_default=True,
                 help="Seconds to wait at each of the sum's four stages."),
    grace_option,
)  # fmt: skip


def sum_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of a command with `--profile` that asks devices; it gets `asked`, and no `--profile` for `--last`.

    Raises:
        UsageError: neither `--profile` nor `--last` is given, or both.
    """

    @wraps(command)
    def asking(
        *args: Any,
        profile: Path | None,
        again: bool,
        minimum_reports: int,
        vanish: float,
        collude: float,
        join_s: float,
        deadline_s: float,
        grace_s: float,
        **others: Any,
    ) -> None:
        from coordinator.shell.declared_sum import Asked

        if again == (profile is not None):
            hint = f"edge-coordinator {command.__name__} --help"
            raise UsageError("give --profile FILE to ask the devices, or --last", hint=hint)
        asked = Asked(
            minimum_reports=minimum_reports,
            vanish=vanish,
            collude=collude,
            join_s=join_s,
            deadline_s=deadline_s,
            grace_s=grace_s,
        )
        command(*args, profile=profile, asked=asked, **others)

    for option in reversed(_OPTIONS):
        asking = option(asking)
    return asking
