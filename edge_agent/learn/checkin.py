"""Whether a device may take part in a round now, by what the profile asks and what the device knows of itself.

What is asked for and not known counts as not met: a learner that drains a battery is worse than one that waits.
"""

from msgspec import Struct

from firmware_configs.language.bundles import CheckIn


class Readings(Struct, frozen=True, kw_only=True):
    """What a device knows of itself; None: unknown."""

    mains: bool | None = None
    """Whether it has power from outside."""
    battery: float | None = None
    """Charge, 0 to 1; None also without a battery."""
    metered: bool | None = None
    """Whether its network costs by volume."""
    load: float | None = None
    """Runnable processes a core, mean of a minute."""


def hindrance(asked: CheckIn, known: Readings, fresh: int) -> str:
    """What keeps the device from taking part; empty: nothing.

    Args:
        asked: of the profile.
        known: as of now.
        fresh: examples since the last round that this device has answered.
    """
    if fresh < asked.fresh_min:
        return f"{fresh} fresh examples, {asked.fresh_min} are asked for"
    if asked.battery_min > 0.0 and known.mains is not True:
        if known.battery is None:
            return "on battery or unknown, and its charge is unknown"
        if asked.battery_min >= 1.0:
            return "on battery, mains are asked for"
        if known.battery < asked.battery_min:
            return f"battery at {known.battery:.0%}, {asked.battery_min:.0%} are asked for"
    if asked.unmetered and known.metered is not False:
        return "the network is metered" if known.metered else "whether the network is metered is unknown"
    if asked.load_max > 0.0 and (known.load is None or known.load > asked.load_max):
        return "its load is unknown" if known.load is None else f"busy: load {known.load:.2f} above {asked.load_max:g}"
    return ""
