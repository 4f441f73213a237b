"""Says once that no agent answers in a folder: whoever asks again and again might have been given the wrong one."""

from collections.abc import Callable
from pathlib import Path


class Silence:
    """What was last known of whether an agent answers."""

    def __init__(self, state_dir: Path, say: Callable[[str], None]) -> None:
        self._state_dir, self._say = state_dir, say
        self._is_said = False

    def note(self, answers: bool) -> None:
        """An agent answered, or none did; says what is new, and nothing of one that answers from the beginning."""
        if answers is not self._is_said:
            return
        self._is_said = not answers
        hint = "" if answers else " (start it, or name its folder with --state-dir)"
        self._say(f"{'the' if answers else 'no'} agent answers in {self._state_dir}{hint}")


def unheard(_text: str) -> None:
    """For whoever reads the answer and needs no word about it."""
