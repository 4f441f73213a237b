"""`edge-coordinator attribution`: which channel brought an outcome about."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from coordinator.commands.options import existing, home_option, json_option, show

if TYPE_CHECKING:
    from coordinator.attribution import Attributed, Evidence


@click.command()
@click.argument("outcome")
@click.option("--model", type=click.Choice(["shapley", "markov"]), default="shapley", show_default=True)
@click.option(
    "--game",
    type=click.Choice(["rate", "conversions"]),
    default="rate",
    show_default=True,
    help="Shapley: what a set of channels is worth, by the paths that need no other: their rate, or their number.",
)
@click.option("--k-min", default=1, show_default=True, type=click.IntRange(1), help="Devices that a path must be of.")
@click.option("--from", "file", type=click.Path(path_type=Path), help="Reports as JSON lines, instead of the broker's.")
@click.option("--permutations", default=2_000, show_default=True, type=click.IntRange(2, 1_000_000))
@click.option("--seed", default=0, show_default=True, help="Of the permutations that are drawn above 12 channels.")
@click.option("--wait-s", default=1.0, show_default=True, help="Seconds of silence after which all have told.")
@home_option
@json_option
def attribution(
    outcome: str,
    model: str,
    game: Literal["rate", "conversions"],
    k_min: int,
    file: Path | None,
    permutations: int,
    seed: int,
    wait_s: float,
    home: Path,
    as_json: bool,
) -> None:
    """Share the conversions of OUTCOME among channels, from the paths that devices have counted.

    \b
    edge-coordinator attribution purchase
    edge-coordinator attribution purchase --model markov --from reports.jsonl --json
    """
    import msgspec

    from coordinator.attribution import gathered, markov, shapley
    from coordinator.shell.measured import from_broker, from_file

    if file is not None:
        reports = from_file(file)
    else:
        from coordinator.shell.home import endpoints_of
        from coordinator.shell.store import Store

        enrolled = {device.name for device in Store(existing(home)).devices()}
        reports = from_broker(endpoints_of(home).broker, enrolled, wait_s, home)
    evidence = gathered(reports, outcome, k_min)
    if model == "markov":
        found = markov(evidence.paths)
    else:
        found = shapley(evidence.paths, game=game, permutations=permutations, seed=seed)
    told = {
        "outcome": outcome,
        "devices": evidence.devices,
        "k_min": evidence.k_min,
        "rare_conversions": evidence.rare_conversions,
        **msgspec.to_builtins(found),
    }
    show(told, _words(evidence, found), as_json)


def _words(evidence: "Evidence", found: "Attributed") -> str:
    lines = [f"{evidence.outcome}: {found.model}, {evidence.devices} devices, at least {evidence.k_min} a path"]
    for one in found.credits:
        error = f" ± {one.standard_error:.2g}" if one.standard_error else ""
        lines.append(f"  {one.channel:<20} {one.conversions:>12,.1f}{error}  {one.share:>6.1%}")
    lines.append(f"  {'without any channel':<20} {found.base:>12,.1f}")
    if evidence.rare_conversions:
        lines.append(f"  left out, too rare   {evidence.rare_conversions:>12,.1f}")
    return "\n".join(lines)
