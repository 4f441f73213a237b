"""How fast old rewards stop counting: a half-life in rewards, in time, or both."""

from msgspec import Struct

from edge_agent.limits import HALVINGS_MAX


class Clock(Struct):
    """Where a learner stands: what half-lives are measured by."""

    seen: float = 0.0
    """Rewards of all candidates together."""
    at_ms: int = 0
    """Of the newest reward, unix ms."""


class Forgetting(Struct, frozen=True):
    """A reward's weight is 2^-(rewards since / half_life_rewards + time since / half_life_s).

    Time between two rewards of a candidate counts for at most `HALVINGS_MAX` half-lives, so that a clock that leaps
    does not wipe out what was learned.
    """

    half_life_rewards: float = 0.0
    """0: does not fade by number."""
    half_life_s: float = 0.0
    """0: does not fade by time."""

    @property
    def none(self) -> bool:
        """Whether everything is remembered for good."""
        return not self.half_life_rewards and not self.half_life_s

    def factor(self, clock: Clock, seen: float, at_ms: int) -> float:
        """What is left at `clock` of a weight as of `seen` and `at_ms`, in (0, 1]."""
        halvings = 0.0
        if self.half_life_rewards:
            halvings += max(0.0, clock.seen - seen) / self.half_life_rewards
        if self.half_life_s and at_ms:
            halvings += min(max(0, clock.at_ms - at_ms) / (1_000.0 * self.half_life_s), HALVINGS_MAX)
        return float(2.0 ** -min(halvings, 1_000.0))
