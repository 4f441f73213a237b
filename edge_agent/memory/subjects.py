"""Everything that is remembered by key: in memory while it is hot, in the store otherwise."""

from collections.abc import Callable
from itertools import islice
from typing import Any, Generic, TypeVar

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
        """Let the least recently used go. Only between steps: what a step has changed is not stored before its end."""
        if len(self._held) > self._most:
            _drop_oldest(self._held, self._most)

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


class Folded(Generic[State]):
    """As `Kept`, but only those in use lately are held open; of the others the stored form is held.

    That takes half the memory, and a state that is asked for again is unpacked in microseconds, without the store.
    """

    def __init__(
        self,
        recall: Callable[[str], bytes | None],
        pack: Callable[[State], bytes],
        unpack: Callable[[bytes], State],
        fresh: Callable[[], State],
        overhead_bytes: int,
    ) -> None:
        """Set up; nothing is held from one step to the next before `limit` says how much.

        Args:
            recall: key → stored bytes.
            pack: state → bytes to store.
            unpack: stored bytes → state.
            fresh: the state of a key that was never stored.
            overhead_bytes: memory of one that is held as it is stored, besides its bytes.
        """
        self._recall, self._pack, self._unpack, self._fresh = recall, pack, unpack, fresh
        self._overhead = overhead_bytes
        self._bytes_most = self._open_most = self._bytes = 0
        self._open: dict[str, State] = {}
        self._packed: dict[str, bytes] = {}

    def limit(self, bytes_most: int, open_most: int) -> None:
        """How much is held from the next `trim` on.

        Args:
            bytes_most: memory of those that are held as they are stored.
            open_most: states held open.
        """
        self._bytes_most, self._open_most = bytes_most, open_most

    def trim(self) -> None:
        """Fold or let go of the least recently used. Only between steps, when everything that has changed is stored."""
        if len(self._open) > self._open_most:
            _drop_oldest(self._open, self._open_most)
        while self._bytes > self._bytes_most:
            # As many at once as in `_drop_oldest`, for the same reason.
            for key in list(islice(self._packed, 1 + len(self._packed) // EVICTED_SHARE)):
                self._forget(key)

    def __len__(self) -> int:
        return len(self._open.keys() | self._packed.keys())

    def get(self, key: str) -> State:
        """The state of a key; the caller may change it, and has it folded at the end of the step."""
        state = self._open.pop(key, None)
        if state is None:
            packed = self._packed.get(key)
            if packed is None:
                packed = self._recall(key)
                if packed is not None:
                    self._hold(key, packed)
            state = self._fresh() if packed is None else self._unpack(packed)
        self._open[key] = state
        return state

    def fold(self, key: str) -> bytes:
        """What is to be stored of a key whose state has changed."""
        packed = self._pack(self._open[key])
        self._forget(key)
        self._hold(key, packed)
        return packed

    def _hold(self, key: str, packed: bytes) -> None:
        self._packed[key] = packed
        self._bytes += len(packed) + self._overhead

    def _forget(self, key: str) -> None:
        packed = self._packed.pop(key, None)
        if packed is not None:
            self._bytes -= len(packed) + self._overhead

    def replace(self, key: str, state: State) -> None:
        """Set a key's state; what was held of it is gone."""
        self._forget(key)
        self._open.pop(key, None)
        self._open[key] = state


def _drop_oldest(held: dict[str, Any], most: int) -> None:
    """A few more than needed go at once, for a dict's first key is found by passing over all that were deleted."""
    for key in list(islice(held, len(held) - most + most // EVICTED_SHARE)):
        del held[key]
