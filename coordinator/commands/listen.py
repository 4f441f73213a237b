"""`edge-coordinator listen`: what arrives at the broker, as hashes, for the auditor."""

import time
from collections.abc import Sequence
from pathlib import Path

import click

from coordinator.commands.options import existing_home_option, json_option, show
from firmware_configs.cli_group import FiniteRange


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File that lines are added to.")
@click.option("--device", "devices", multiple=True, help="Only this device; repeat. Default: all.")
@click.option(
    "--topic",
    "topics",
    multiple=True,
    help="A further topic filter, such as an actuator's, that the coordinator may read; repeat.",
)
@click.option("--seconds", default=0.0, type=FiniteRange(0.0), help="How long; 0: until Ctrl-C.")
@existing_home_option
@json_option
def listen(out: Path, devices: Sequence[str], topics: Sequence[str], seconds: float, home: Path, as_json: bool) -> None:
    """Record what devices publish: size, SHA-256 and topic of each message, never what is in it.

    \b
    Then: edge-audit ledger reconcile DEVICE --record FILE
    """
    from coordinator.shell.arrivals import listen as run
    from coordinator.shell.home import endpoints_of

    until = time.monotonic() + seconds if seconds else float("inf")
    count = 0
    try:
        count = run(endpoints_of(home).broker, home, out, list(devices), lambda: time.monotonic() > until, list(topics))
    except KeyboardInterrupt:
        count = len(out.read_bytes().splitlines()) if out.exists() else 0
    show({"file": str(out), "messages": count}, f"{out}: {count:,} messages", as_json)
