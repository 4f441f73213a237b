"""Everything that is remembered by key: in memory while it is hot, in the store otherwise."""

from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

from edge_agent.limits import EVICTED_SHARE

State = TypeVar("State")


class Kept(Generic[State]):
    """A bounded cache in front of the store: the least recently used go first, and nothing is lost by it.

    That holds because every change is written by the step that made it: what is evicted is already stored.
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
        """Hold at most so many states from now on."""
        self._most = most
        if len(self._held) > most:
            self._evict(most)

    def _evict(self, most: int) -> None:
        """Make room under `most`: a few more than one, for a dict's first key is found by passing over the deleted."""
        for key in list(islice(self._held, len(self._held) - most + 1 + most // EVICTED_SHARE)):
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
            if len(held) >= self._most:
                self._evict(self._most)
        held[key] = state
        return state

    def forget(self, key: str) -> None:
        """Drop a key from memory, so that the store's word counts again."""
        self._held.pop(key, None)

    def replace(self, key: str, state: State) -> None:
        """Set a key's state."""
        self._held.pop(key, None)
        if len(self._held) >= self._most:
            self._evict(self._most)
        self._held[key] = state
