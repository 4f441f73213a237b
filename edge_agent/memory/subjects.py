"""Everything that is remembered by key: in memory while it is hot, in the store otherwise."""

from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

from edge_agent.limits import EVICTED_SHARE

State = TypeVar("State")


class Kept(Generic[State]):
    """A bounded cache in front of the store: the least recently used go first, and nothing is lost by it.

    That holds because every change is written by the step that made it, and `trim` is called between steps: what goes
    is already stored. Within a step, as many more are held as it touches.
    """

    def __init__(
        self,
        recall: Callable[[str], bytes | None],
        unpack: Callable[[bytes], State],
        fresh: Callable[[], State],
        most: int,
    ) -> None:
        """Set up.

        Args:
            recall: key → stored bytes.
            unpack: stored bytes → state.
            fresh: the state of a key that was never stored.
            most: states held.
        """
        self._recall, self._unpack, self._fresh, self._most = recall, unpack, fresh, most
        self._held: dict[str, State] = {}

    def limit(self, most: int) -> None:
        """Hold at most so many states from the next `trim` on."""
        self._most = most

    def trim(self) -> None:
        """Let the least recently used go. Only between steps: what a step has changed is not stored before its end.

        A few more than needed go at once, for a dict's first key is found by passing over all that were deleted.
        """
        over = len(self._held) - self._most
        if over > 0:
            for key in list(islice(self._held, over + self._most // EVICTED_SHARE)):
                del self._held[key]

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str) -> State:
        """The state of a key; the caller may change it and then touches it in its batch."""
        held = self._held
        state = held.pop(key, None)
        if state is None:
            stored = self._recall(key)
            state = self._fresh() if stored is None else self._unpack(stored)
        held[key] = state
        return state

    def replace(self, key: str, state: State) -> None:
        """Set a key's state."""
        self._held.pop(key, None)
        self._held[key] = state
