"""`edge-coordinator capacity`: what a fleet of a size needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.commands.options import json_option, show
from firmware_configs.cli_group import FiniteRange

if TYPE_CHECKING:
    from coordinator.capacity import Demand, Machine, Plan

COSTS = Path(__file__).parents[1] / "costs.toml"


class Count(click.ParamType[int]):
    """A whole number that may be written `1e6`."""

    name = "number"

    def __init__(self, most: int = 10**9) -> None:
        """At most so many."""
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it; a fraction, a negative number or a word is a usage error."""
        try:
            found = float(value)
            whole = int(found)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no number; write 1000000 or 1e6", param, ctx)
        if whole != found or whole < 1:
            self.fail(f"{value!r} is no whole number of at least 1", param, ctx)
        if whole > self._most:
            self.fail(f"{value!r} is more than {self._most:,}", param, ctx)
        return whole


COUNT = Count()
RATE = FiniteRange(0.0, 1e15)
AMOUNT = FiniteRange(0.0, 1e15, min_open=True)
SHARE = FiniteRange(0.0, 1.0, min_open=True)


@click.command()
@click.option("--devices", type=COUNT, help="Size of the fleet; without it: 1,000 to 10,000,000, a line each.")
@click.option("--online", type=SHARE, default=0.9, show_default=True, help="Share of devices that are connected.")
@click.option("--events-a-day", type=RATE, default=2_000.0, show_default=True, help="Events of a device.")
@click.option("--decisions-an-event", type=RATE, default=0.1, show_default=True)
@click.option(
    "--shared-broker", is_flag=True, help="Events pass the fleet's broker. Default: a broker beside each agent."
)
@click.option("--words-a-day", type=RATE, default=40.0, show_default=True, help="Status, reports, alerts of a device.")
@click.option("--rounds-a-day", type=RATE, default=4.0, show_default=True)
@click.option("--cohort", type=COUNT, default="100", show_default=True, help="Devices that a run is offered to.")
@click.option("--parameters", type=COUNT, default="10000", show_default=True, help="Shared ones of the bundle.")
@click.option("--versions-a-day", type=RATE, default=1.0, show_default=True, help="Versions that every device fetches.")
@click.option("--bundle-bytes", type=Count(10**12), default="20000", show_default=True)
@click.option("--join-days", type=AMOUNT, default=90.0, show_default=True, help="The whole fleet comes in within.")
@click.option(
    "--peak", type=FiniteRange(1.0, 1_000.0), default=3.0, show_default=True, help="The busiest time over the mean."
)
@click.option(
    "--reconnect-s", type=AMOUNT, default=300.0, show_default=True, help="All are back within, after an outage."
)
@click.option("--round-s", type=AMOUNT, default=600.0, show_default=True, help="A round is done within.")
@click.option("--read-s", type=AMOUNT, default=10.0, show_default=True, help="mosquitto reads its access list within.")
@click.option("--cores", type=Count(1_024), default="8", show_default=True, help="Of one machine.")
@click.option("--memory-gib", type=AMOUNT, default=32.0, show_default=True, help="Of one machine.")
@click.option("--network-mbit", type=AMOUNT, default=1_000.0, show_default=True, help="Of one machine.")
@click.option("--utilisation", type=SHARE, default=0.6, show_default=True, help="Share in use at the busiest time.")
@click.option(
    "--costs", type=click.Path(path_type=Path, dir_okay=False), default=COSTS, help="Costs that you measured yourself."
)
@json_option
def capacity(devices: int | None, costs: Path, as_json: bool, **given: Any) -> None:
    """Tell what a fleet needs: machines, bandwidth, storage, what is full first, and what takes its place.

    Plain formulas over costs measured on one machine (docs/scale.md has both, and what they leave out).

    \b
    edge-coordinator capacity
    edge-coordinator capacity --devices 1e6
    edge-coordinator capacity --devices 2e5 --shared-broker --events-a-day 20000 --json
    """
    import msgspec

    from coordinator.capacity import LADDER, Demand, Machine, parse, plan
    from coordinator.errors import CapacityInvalid

    try:
        text = costs.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CapacityInvalid(f"{costs} cannot be read: {error}", hint="name a file with --costs, or none") from error
    table, listed = parse(text)
    of_machine = {name: given.pop(name) for name in Machine.__struct_fields__}
    machine = Machine(**of_machine)
    demands = [Demand(devices=n, **given) for n in ([devices] if devices else LADDER)]
    plans = [plan(demand, table, machine) for demand in demands]
    data = {
        "machine": msgspec.to_builtins(machine),
        "demand": {name: value for name, value in msgspec.to_builtins(demands[0]).items() if name != "devices"},
        "plans": [msgspec.to_builtins(one) for one in plans],
        "costs": msgspec.to_builtins(listed),
    }
    text = _one(plans[0], demands[0], machine) if devices else _ladder(plans)
    show(data, text, as_json)


def _ladder(plans: "list[Plan]") -> str:
    """A line a size."""
    head = f"{'devices':>11}  {'machines':>8}  {'broker':>6}  {'SuperLinks':>10}  {'to and from':>12}  full first"
    lines = [head]
    for one in plans:
        parts = {part.name: part for part in one.parts}
        lines.append(
            f"{one.devices:>11,}  {one.machines:>8,}  {parts['broker'].instances:>6,}  "
            f"{parts['SuperLink'].instances:>10,}  {_rate(sum(p.bytes_s for p in one.parts)):>12}  {_full(one)}"
        )
    return "\n".join([*lines, "", "what each part needs: --devices N; what the figures rest on: docs/scale.md"])


def _full(one: "Plan") -> str:
    first = next(part for part in one.parts if part.name == one.bottleneck)
    return f"{first.name} at {first.full_at:,} devices" if first.full_at else first.name


def _one(found: "Plan", demand: "Demand", machine: "Machine") -> str:
    """Everything about one size."""
    from coordinator.progress import size

    one = f"{machine.cores} cores, {machine.memory_gib:g} GiB, {machine.network_mbit:g} Mbit/s"
    lines = [
        f"{found.devices:,} devices, {demand.online:.0%} online: {found.machines:,} machine(s)",
        f"a machine: {one}, {machine.utilisation:.0%} in use at the peak",
        "",
        f"{'part':<12} {'cores':>8} {'memory':>9} {'line':>11} {'disk':>9} {'instances':>9}  one is full at",
    ]
    for part in found.parts:
        full = f"{part.full_at:,} devices" if part.full_at is not None else "(its cohort decides)"
        lines.append(
            f"{part.name:<12} {part.cores:>8.2f} {size(int(part.memory_bytes)):>9} {_rate(part.bytes_s):>11} "
            f"{size(int(part.storage_bytes)):>9} {part.instances:>9,}  {full}"
        )
    lines += ["", f"full first: {_full(found)}", f"a round takes at least {found.round_s:,.0f} s"]
    if found.read_s:
        lines.append(
            f"mosquitto serves nobody for {found.read_s:,.1f} s as it reads its access list for a newcomer, who waits "
            f"up to {found.rights_s:,.0f} s for that"
        )
    lines += [f"a device: {found.device_core_share:.2%} of a core, {size(int(found.bytes_a_device_day))} a day"]
    for part in found.parts:
        if part.instead:
            lines.append(f"{part.name}: {part.instead}")
    return "\n".join(lines)


def _rate(bytes_s: float) -> str:
    return f"{bytes_s * 8 / 1e6:,.1f} Mbit/s"
