"""What this device's own noise has cost so far, by bundle, and the refusal of what would cost more than is declared."""

import msgspec

from edge_agent.errors import BudgetSpent
from firmware_configs import gaussian
from firmware_configs.profile import Privacy

PREFIX = "privacy:"
"""Of the keys under which a bundle's cost is kept."""


class Spending:
    """μ² of all updates that left with noise of this device's own, by bundle: `firmware_configs.gaussian`."""

    def __init__(self, declared: Privacy | None) -> None:
        self._declared = declared
        self._spent: dict[str, float] = {}

    def restore(self, key: str, value: bytes) -> None:
        """Take up what was kept under a key."""
        self._spent[key.removeprefix(PREFIX)] = msgspec.msgpack.decode(value, type=float)

    def after(self, bundle: str, mu_squared: float) -> tuple[float, str]:
        """What will have been spent on a bundle once an update leaves; nothing is entered yet.

        Returns:
            μ² in all, and the ledger's words for it.
        Raises:
            BudgetSpent: it would be more than the profile's `epsilon_max` for a bundle.
        """
        declared = self._declared
        if declared is None:
            raise BudgetSpent("the profile declares no privacy of updates", hint="add [egress.privacy]")
        total = self._spent.get(bundle, 0.0) + mu_squared
        reached = gaussian.epsilon(total, declared.delta)
        if declared.epsilon_max is not None and reached > declared.epsilon_max:
            before = gaussian.epsilon(self._spent.get(bundle, 0.0), declared.delta)
            raise BudgetSpent(
                f"local ε = {before:.4g} of {declared.epsilon_max:g} is spent on `{bundle}` at δ = {declared.delta:g}; "
                f"this update would make it {reached:.4g}",
                hint="nothing more of this bundle is learned here; a larger noise_multiplier would have cost less",
            )
        most = f" of {declared.epsilon_max:g}" if declared.epsilon_max is not None else ""
        alone = gaussian.epsilon(mu_squared, declared.delta)
        return total, (
            f"local ε = {alone:.4g}, {reached:.4g}{most} in all for {bundle}, at "
            f"δ = {declared.delta:g}; unit: one device, any two updates; sampling: none; accountant: exact Gaussian"
        )

    def enter(self, bundle: str, total: float) -> tuple[str, bytes]:
        """Note what was spent in all; returns the key and the value to store in the same transaction."""
        self._spent[bundle] = total
        return PREFIX + bundle, msgspec.msgpack.encode(total)
