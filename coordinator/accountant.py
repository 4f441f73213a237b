"""What a run may claim about privacy. It claims nothing that was not accounted for."""

from msgspec import Struct


class Claim(Struct, frozen=True, kw_only=True):
    """The claim that goes into the card and the log."""

    private: bool
    text: str


def claim(clip_norm: float, rounds: int, reports: int) -> Claim:
    """The claim of a run whose updates are clipped and not noised.

    Clipping alone bounds one device's influence and gives no ε: saying so is the whole of it.
    """
    return Claim(
        private=False,
        text=(
            f"No differential privacy: updates were clipped to L2 norm {clip_norm:g} per device and round, no noise "
            f"was added, so no ε can be stated. {rounds} rounds, at least {reports} devices in each."
        ),
    )
