"""`edge-coordinator cohort`: who a round would ask now, and who not, and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.commands.options import existing_home_option, json_option, show
from firmware_configs.cli_group import FiniteRange

if TYPE_CHECKING:
    from coordinator.eligibility import Cohort, Round, Verdict

LINES_MAX = 200
"""Devices that are written out for people; JSON has all."""
OF_A_ROUND = ("bundle", "wanted", "over_selection", "rate", "minimum_reports", "classes", "examples_min", "seed")


@click.command()
@click.argument("bundle", default="")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="round.toml, as of `train`.")
@click.option("--version", default="", help="Of the bundle; default: the newest that is published.")
@click.option("--wanted", type=click.IntRange(0), help="Reports that are enough; 0: from everyone.")
@click.option("--over-selection", type=FiniteRange(0.0, 10.0), help="With --wanted: more to ask; default: 0.3.")
@click.option("--rate", type=FiniteRange(0.0, 1.0, min_open=True), help="Of a private round; default: 1.")
@click.option("--minimum-reports", type=click.IntRange(1), help="Fewer abandon the round; default: 1.")
@click.option("--examples-min", type=click.IntRange(0), help="That a device must have; default: 1.")
@click.option("--where", multiple=True, help="Only some devices: profile:HASH, group:beta, tag:site=lab.")
@click.option("--class", "classes", multiple=True, help="Only devices of this class of profile; may be repeated.")
@click.option("--seed", type=click.IntRange(0), help="Of the draw; default: 0.")
@existing_home_option
@json_option
def cohort(
    bundle: str,
    config: Path | None,
    version: str,
    where: Sequence[str],
    classes: Sequence[str],
    home: Path,
    as_json: bool,
    **given: Any,
) -> None:
    """Say who a round of BUNDLE would ask now, and why others not, without asking anybody.

    From what devices last said: presence, bundle version, examples, what they wait for; and from here: revocation,
    quarantine, maintenance windows (by this machine's clock). A device may know more. Without BUNDLE, versions and
    examples do not matter. Exit code 1 when a round could not have its minimum of reports. (A cohort here is
    devices of a round; people who are drawn and do not exist are `edge-models cohort`.)

    \b
    edge-coordinator cohort affinity --wanted 50
    edge-coordinator cohort --config round.toml --json
    """
    import time

    import msgspec

    from coordinator.eligibility import Moment, foresee
    from coordinator.fleet.selection import parse, select
    from coordinator.shell import round_file
    from coordinator.shell.fleet_store import FleetStore

    given |= {"bundle": bundle or None, "classes": tuple(classes) or None, "where": tuple(where) or None}
    wanted = round_file.read(config) if config is not None else {}
    wanted |= {name: v for name, v in given.items() if v is not None}
    asked = _round(home, version, {name: value for name, value in wanted.items() if name in OF_A_ROUND})
    devices, terms = FleetStore(home).views(), parse(wanted.get("where", ()))
    meant = frozenset(device.name for device in select(devices, terms)) if terms else None
    here = time.localtime()
    moment = Moment(now_ms=int(time.time() * 1_000), weekday=here.tm_wday, minute=here.tm_hour * 60 + here.tm_min)
    found = foresee(devices, asked, moment, quarantined=_quarantined(home), meant=meant)
    data = {"round": msgspec.to_builtins(asked), **msgspec.to_builtins(found)}
    show(data, "\n".join(_lines(asked, found)), as_json)
    if found.eligible < asked.minimum_reports or found.short == 1.0:
        click.get_current_context().exit(1)


def _round(home: Path, version: str, held: dict[str, Any]) -> "Round":
    from coordinator.eligibility import Round
    from coordinator.errors import UnknownBundle
    from coordinator.shell.registry_store import Registry

    name = held.get("bundle", "")
    if name and not version:
        version = Registry.existing(home).newest(name) or ""
        if not version:
            raise UnknownBundle(f"no `{name}` in the registry", hint="see: edge-coordinator registry ls")
    return Round(**held, version=version)


def _quarantined(home: Path) -> dict[str, str]:
    from coordinator.fleet.telling import when
    from coordinator.shell.quarantine_store import QuarantineStore

    inside = QuarantineStore(home).entries()
    return {name: f"until {when(entry.until_ms)}: {entry.reason}" for name, entry in inside.items()}


def _lines(asked: "Round", found: "Cohort") -> list[str]:
    what = f"{asked.bundle} {asked.version}".strip() or "any bundle"
    how = f"each with probability {asked.rate:g}" if asked.rate < 1.0 else "all of them"
    if asked.rate == 1.0 and asked.wanted:
        how = f"{asked.wanted:,} wanted, {asked.over_selection:.0%} more are asked"
    count = f"{found.asked:,.0f}" if found.asked == int(found.asked) else f"{found.asked:,.1f} on average"
    there = f"{found.eligible:,} of {len(found.devices):,} devices are eligible"
    lines = [f"{what}: {there}; a round would ask {count} ({how})"]
    if found.short:
        lines.append(f"fewer than {asked.minimum_reports:,}, so abandoned, with probability {found.short:.2g}")
    if found.why_not:
        lines.append(f"not: {', '.join(f'{count:,} {code}' for code, count in found.why_not.items())}")
    lines += [f"  {one.device:<24} {_told(one)}" for one in found.devices[:LINES_MAX]]
    if len(found.devices) > LINES_MAX:
        lines.append(f"… and {len(found.devices) - LINES_MAX:,} more; --json has all")
    return lines


def _told(one: "Verdict") -> str:
    if one.reasons:
        return "no: " + "; ".join(f"{reason.code}: {reason.what}" for reason in one.reasons)
    word = {True: "asked", False: "eligible, not drawn", None: "eligible"}[one.drawn]
    unknown = f"; not told: {', '.join(one.not_told)}" if one.not_told else ""
    return f"{word}; chance {one.chance:.0%}{unknown}"
