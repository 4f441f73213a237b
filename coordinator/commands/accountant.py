"""`edge-coordinator accountant`: what rounds cost in privacy, before they are run and after."""

import math
from pathlib import Path
from typing import Any

import click

from coordinator.commands.options import existing, home_option, json_option, show
from firmware_configs import gaussian

EXAMPLE = {"clients": 1_000, "rate": 0.05, "rounds": 100, "noise": 1.0, "delta": 1e-5}


@click.command()
@click.argument("bundle", default="")
@click.option("--clients", type=click.IntRange(1), help="Devices of the population; only said.")
@click.option("--rate", type=float, default=1.0, show_default=True, help="Probability that a round asks a device.")
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True)
@click.option("--noise", type=float, help="Noise multiplier: deviation of the noise / clipping norm.")
@click.option("--epsilon", type=float, help="Instead of --noise: the budget; tells the noise that it takes.")
@click.option("--delta", type=float, default=1e-5, show_default=True)
@click.option(
    "--noise-by",
    default="coordinator",
    show_default=True,
    type=click.Choice(["coordinator", "devices", "device"]),
    help="devices: in shares under a secret sum. device: each its own, against everybody (local privacy).",
)
@click.option("--example", is_flag=True, help="1,000 devices, Poisson q = 0.05, 100 rounds, noise 1.0, δ = 1e-5.")
@home_option
@json_option
def accountant(
    bundle: str,
    clients: int | None,
    rate: float,
    rounds: int,
    noise: float | None,
    epsilon: float | None,
    delta: float,
    noise_by: str,
    example: bool,
    home: Path,
    as_json: bool,
) -> None:
    """What rounds cost in differential privacy; with BUNDLE: what was spent on it so far, and what is left.

    The unit of privacy is one device. Every number comes from the library dp-accounting, by PLD and by RDP.

    \b
    edge-coordinator accountant --rate 0.05 --rounds 100 --noise 1.0
    edge-coordinator accountant --rate 0.05 --rounds 100 --epsilon 8
    edge-coordinator accountant --rounds 40 --epsilon 8 --noise-by devices
    edge-coordinator accountant --rounds 40 --noise 20 --noise-by device
    edge-coordinator accountant affinity
    """
    if bundle:
        if example or noise is not None or epsilon is not None:
            raise click.UsageError("a BUNDLE is asked what was spent on it: leave out --noise, --epsilon and --example")
        existing(home)
        from coordinator.shell.told import spent

        found: dict[str, Any] = {"bundle": bundle, "populations": spent(home, bundle)}
        show(found, _spent_text(found), as_json)
        return
    if example:
        clients, rate, rounds = int(EXAMPLE["clients"]), EXAMPLE["rate"], int(EXAMPLE["rounds"])
        noise, epsilon, delta, noise_by = EXAMPLE["noise"], None, EXAMPLE["delta"], "coordinator"
    if (noise is None) == (epsilon is None):
        raise click.UsageError("give exactly one of --noise and --epsilon, or --example, or a BUNDLE")
    if noise_by == "device" and (noise is None or rate != 1.0):
        raise click.UsageError("--noise-by device takes --noise, and no --rate: no sampling hides a device")
    found = _planned(clients, rate, rounds, noise, epsilon, delta, noise_by)
    show(found, _planned_text(found), as_json)


def _planned(
    clients: int | None,
    rate: float,
    rounds: int,
    noise: float | None,
    epsilon: float | None,
    delta: float,
    noise_by: str,
) -> dict[str, Any]:
    from coordinator import accountant as accounts

    by: accounts.NoiseBy = "devices" if noise_by == "devices" else "coordinator"
    kinds: tuple[accounts.Accountant, ...] = ("rdp",) if by == "devices" else ("pld", "rdp")
    if noise is None:
        budget = accounts.Budget(epsilon=epsilon or 0.0, delta=delta, accountant=kinds[0])
        noise = accounts.noise_for(budget, rate, rounds, by)
    # Any two updates of one device are twice the clipping norm apart: its own noise is worth half.
    worth = noise / gaussian.LOCAL_SENSITIVITY if noise_by == "device" else noise
    spend = [accounts.Spend(noise_multiplier=worth, rate=rate, rounds=rounds, noise_by=by)]
    return {
        "clients": clients,
        "unit": f"{accounts.UNIT}, any two updates" if noise_by == "device" else accounts.UNIT,
        "noise_by": noise_by,
        "sampling": f"Poisson, q = {rate:g}" if rate < 1.0 else "none: every device is asked",
        "rate": rate,
        "rounds": rounds,
        "noise_multiplier": noise,
        "delta": delta,
        "epsilon": {kind: accounts.epsilon(spend, delta, kind) for kind in kinds},
    }


def _planned_text(found: dict[str, Any]) -> str:
    devices = f"{found['clients']:,} devices; " if found["clients"] else ""
    return (
        f"{devices}{found['rounds']:,} rounds, noise multiplier {found['noise_multiplier']:.4g}, "
        f"sampling: {found['sampling']}\n"
        f"unit of privacy: {found['unit']}; δ = {found['delta']:g}\n"
        f"ε = {', '.join(f'{value:.2f} by {kind.upper()}' for kind, value in found['epsilon'].items())} (dp-accounting)"
    )


def _spent_text(found: dict[str, Any]) -> str:
    if not found["populations"]:
        return f"nothing was spent on `{found['bundle']}`: no private round of it has run here"
    lines = [f"{found['bundle']} (unit of privacy: {found['populations'][0]['unit']})"]
    for one in found["populations"]:
        share = 0 if math.isinf(one["epsilon"]) else round(100 * one["epsilon"] / one["epsilon_max"])
        lines.append(
            f"  {one['population']}: ε = {one['epsilon']:.3f} of {one['epsilon_max']:g} ({share} %) at δ = "
            f"{one['delta']:g}, {one['rounds']:,} rounds, {one['accountant'].upper()}"
        )
    return "\n".join(lines)
