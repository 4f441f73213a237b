"""How many wrong attempts one address may make, and all of them together: a window that slides with the clock."""

from collections import deque

WINDOW_S = 600.0
EACH_MAX = 10
ALL_MAX = 200
ADDRESSES_MAX = 10_000


class Attempts:
    """Counts failures; what succeeds costs nothing, so a whole house of devices can come in by one address."""

    def __init__(self) -> None:
        self._all: deque[float] = deque()
        self._each: dict[str, deque[float]] = {}

    def allowed(self, address: str, now_s: float) -> bool:
        """Whether another attempt may be made.

        Args:
            now_s: monotonic seconds.
        """
        own = self._each.get(address)
        return _recent(self._all, now_s) < ALL_MAX and (own is None or _recent(own, now_s) < EACH_MAX)

    def failed(self, address: str, now_s: float) -> None:
        """One came to nothing."""
        self._all.append(now_s)
        if address not in self._each and len(self._each) >= ADDRESSES_MAX:
            self._each = {one: times for one, times in self._each.items() if _recent(times, now_s)}
        self._each.setdefault(address, deque(maxlen=EACH_MAX)).append(now_s)

    def forgive(self, address: str) -> None:
        """Take back the newest failure of an address, which came to something after all."""
        if own := self._each.get(address):
            newest = own.pop()
            if newest in self._all:
                self._all.remove(newest)


def _recent(times: deque[float], now_s: float) -> int:
    while times and times[0] <= now_s - WINDOW_S:
        times.popleft()
    return len(times)
