"""Whether a round's privacy, as the coordinator states it, is what this device's profile lets be spent."""

from edge_agent.errors import RoundRefused
from firmware_configs.stated import Stated

UNIT = "one device"


def check(stated: Stated | None, epsilon_max: float | None, delta: float, population: str) -> None:
    """Refuse a round that would cost more than the profile's budget of a bundle.

    The device takes the coordinator's word for what was spent: it cannot see the other devices' rounds.

    Args:
        stated: what the plan says; None: nothing.
        epsilon_max: the profile's; None: it asks for no statement.
        delta: at this δ or a smaller one.
        population: as whose part this device may be counted; empty: any.
    Raises:
        RoundRefused: there is no statement, or not one that the profile accepts.
    """
    if epsilon_max is None and not population:
        return
    if stated is None:
        raise RoundRefused(
            "the round states no privacy, and this profile lets updates out only with differential privacy",
            hint="edge-coordinator train --epsilon-max, or noise of the device's own in the profile",
        )
    if population and stated.population != population:
        raise RoundRefused(
            f"the round counts this device to `{stated.population}`, its profile says `{population}`",
            hint=f"edge-coordinator train --population {population}",
        )
    if epsilon_max is None:
        return
    if stated.unit != UNIT or stated.delta > delta:
        raise RoundRefused(
            f"privacy is stated for {stated.unit} at δ = {stated.delta:g}, this profile wants {UNIT} at {delta:g}",
            hint=f"edge-coordinator train --delta {delta:g}",
        )
    if stated.epsilon > epsilon_max:
        raise RoundRefused(
            f"this round would bring ε to {stated.epsilon:.4g}, this profile lets {epsilon_max:g} be spent on a bundle",
            hint="more noise or fewer rounds; what is spent stays spent",
        )
