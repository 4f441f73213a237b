"""What noise has cost this device so far, by bundle, and the refusal of what would cost more than is declared."""

import msgspec
from msgspec import Struct

from edge_agent.errors import BudgetSpent
from firmware_configs import gaussian
from firmware_configs.profile import Privacy


class Claim(Struct, frozen=True, kw_only=True):
    """What a budget is of."""

    prefix: str
    """Of the keys under which a bundle's cost is kept."""
    what: str
    unit: str
    word: str
    """What the device calls its ε."""


LOCAL = Claim(prefix="privacy:", what="updates", unit="one device, any two updates", word="local ε")
"""Of updates that leave with noise of the device's own."""
SUM = Claim(prefix="privacy-sum:", what="statistics", unit="one device, in the sum or not", word="ε of the sum")
"""Of sums to whose noise each device adds its share."""

METRICS = Claim(prefix="privacy-metrics:", what="metrics", unit="one device, in the sum or not", word="ε of the sum")
"""Of sums of metrics, the same way."""


class Spending:
    """μ² of all that left with noise, by bundle: `firmware_configs.gaussian`."""

    def __init__(self, declared: Privacy | None, claim: Claim = LOCAL) -> None:
        self._declared, self._claim = declared, claim
        self._spent: dict[str, float] = {}

    def is_of(self, key: str) -> bool:
        """Whether something was kept under this key by a budget of the same kind."""
        return key.startswith(self._claim.prefix)

    def restore(self, key: str, value: bytes) -> None:
        """Take up what was kept under a key."""
        self._spent[key.removeprefix(self._claim.prefix)] = msgspec.msgpack.decode(value, type=float)

    def after(self, bundle: str, mu_squared: float) -> tuple[float, str]:
        """What will have been spent on a bundle once this leaves; nothing is entered yet.

        Returns:
            μ² in all, and the ledger's words for it.
        Raises:
            BudgetSpent: it would be more than the profile's `epsilon_max` for a bundle.
        """
        declared, claim = self._declared, self._claim
        if declared is None:
            raise BudgetSpent(f"the profile declares no privacy of {claim.what}", hint="add [egress.privacy]")
        total = self._spent.get(bundle, 0.0) + mu_squared
        reached = gaussian.epsilon(total, declared.delta)
        if declared.epsilon_max is not None and reached > declared.epsilon_max:
            before = gaussian.epsilon(self._spent.get(bundle, 0.0), declared.delta)
            raise BudgetSpent(
                f"{claim.word} = {before:.4g} of {declared.epsilon_max:g} is spent on `{bundle}` at δ = "
                f"{declared.delta:g}; this would make it {reached:.4g}",
                hint="nothing more of this bundle leaves so; a larger noise_multiplier would have cost less",
            )
        most = f" of {declared.epsilon_max:g}" if declared.epsilon_max is not None else ""
        alone = gaussian.epsilon(mu_squared, declared.delta)
        return total, (
            f"{claim.word} = {alone:.4g}, {reached:.4g}{most} in all for {bundle}, at "
            f"δ = {declared.delta:g}; unit: {claim.unit}; sampling: none; accountant: exact Gaussian"
        )

    def enter(self, bundle: str, total: float) -> tuple[str, bytes]:
        """Note what was spent in all; returns the key and the value to store in the same transaction."""
        self._spent[bundle] = total
        return self._claim.prefix + bundle, msgspec.msgpack.encode(total)
