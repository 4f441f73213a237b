"""A time that does not follow a clock's leap, made of nothing but the times of events: a replay has the same."""

from msgspec import Struct

from edge_agent.limits import DAY_MS


class Steady(Struct, array_like=True):
    """Links end by this time. It follows every step back, and a step forward by a day at most; to a longer one it comes
    when there is an event a day later still. Until then it runs on from where it was."""

    now_ms: int = 0
    """Unix ms; 0: nothing was ever seen."""
    wall_ms: int = 0
    """Wall clock when it was last advanced, unix ms."""
    leapt_ms: int = 0
    """Wall clock after a leap that is not believed yet, unix ms; 0: there is none."""

    def read(self, wall_ms: int) -> int:
        """The time at a wall clock, unix ms."""
        if self.leapt_ms and wall_ms >= self.leapt_ms:
            stood = wall_ms - self.leapt_ms >= DAY_MS
            return wall_ms if stood else self.now_ms + max(0, wall_ms - self.wall_ms)
        if self.now_ms and wall_ms - self.now_ms > DAY_MS:
            return self.now_ms + DAY_MS
        return wall_ms

    def advance(self, wall_ms: int) -> int:
        """Take note of a wall clock; returns the time, unix ms."""
        now_ms = self.read(wall_ms)
        if wall_ms - now_ms <= DAY_MS:
            self.leapt_ms = 0
        elif not self.leapt_ms or wall_ms < self.leapt_ms:
            self.leapt_ms = wall_ms
        self.now_ms, self.wall_ms = now_ms, wall_ms
        return now_ms
