"""What each person has agreed to, now."""

from collections.abc import Collection, Iterable, Mapping

from firmware_configs.profile import Purpose


class Consents:
    """The newest word of each subject about each purpose; without a word, the answer is no."""

    def __init__(self, purposes: Iterable[Purpose]) -> None:
        known = tuple(purposes)
        self.needed = frozenset(p.name for p in known if p.consent == "required")
        self._free = frozenset(p.name for p in known if p.consent == "not-needed")
        self._granted: dict[str, frozenset[str]] = {}
        self._told_ms: dict[str, int] = {}

    def hear(self, subject: str, purposes: Mapping[str, bool], time_ms: int) -> bool:
        """Take a receipt in; an older one than the newest is ignored. Returns whether it counted."""
        if time_ms < self._told_ms.get(subject, 0):
            return False
        self._told_ms[subject] = time_ms
        yes = {name for name, granted in purposes.items() if granted and name in self.needed}
        no = {name for name, granted in purposes.items() if not granted}
        self._granted[subject] = frozenset((self._granted.get(subject, frozenset()) | yes) - no)
        return True

    def granted(self, subject: str) -> frozenset[str]:
        """Purposes that the subject has said yes to (those that need consent only)."""
        return self._granted.get(subject, frozenset())

    def all_allowed(self, purposes: Collection[str], subject: str) -> bool:
        """Whether each of the purposes may be served for the subject."""
        yes = self._granted.get(subject, frozenset())
        return all(p in self._free or p in yes for p in purposes)

    def subjects_allowing(self, purposes: Collection[str]) -> tuple[str, ...]:
        """Who has agreed to all of these purposes, sorted."""
        return tuple(sorted(s for s in self._granted if self.all_allowed(purposes, s)))

    def told_ms(self, subject: str) -> int:
        """When the subject's newest word was given, unix ms; 0: never."""
        return self._told_ms.get(subject, 0)
