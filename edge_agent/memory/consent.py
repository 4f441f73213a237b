"""What each person has agreed to, now."""

from collections.abc import Callable, Collection, Iterable, Mapping

from firmware_configs.messages import Consent
from firmware_configs.profile import Purpose


class Consents:
    """The newest word of each subject about each purpose; without a word, the answer is no."""

    def __init__(self, purposes: Iterable[Purpose]) -> None:
        known = tuple(purposes)
        self.needed = frozenset(p.name for p in known if p.consent == "required")
        self._free = frozenset(p.name for p in known if p.consent == "not-needed")
        self._granted: dict[str, frozenset[str]] = {}
        self._told_ms: dict[str, int] = {}
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self.kin: Callable[[str], Collection[str]] | None = None
        """Subject → all subjects whose consent counts, where some are known to be one person."""

    def hear(self, subject: str, purposes: Mapping[str, bool], time_ms: int, now_ms: int) -> bool:
        """Take a receipt in; an older one than the newest is ignored. Returns whether it counted.

        A word from a clock that runs ahead must not make the person's later no unheard: while the newest word is dated
        after now, every no counts, and only a yes must be newer.
        """
        told_ms = self._told_ms.get(subject, 0)
        no = frozenset(name for name, granted in purposes.items() if not granted)
        if time_ms < told_ms:
            if told_ms <= now_ms or no.isdisjoint(self.granted(subject)):
                return False
            self._granted[subject] = self._same(self.granted(subject) - no)
            return True
        self._told_ms[subject] = time_ms
        yes = frozenset(name for name, granted in purposes.items() if granted and name in self.needed)
        self._granted[subject] = self._same((self.granted(subject) | yes) - no)
        return True

    def _same(self, purposes: frozenset[str]) -> frozenset[str]:
        """One set for all who agreed to the same: there are few sets and many people."""
        return self._sets.setdefault(purposes, purposes)

    def word(self, subject: str) -> Consent:
        """All that the subject has said, as one receipt: `hear` takes it back after a restart."""
        granted = self.granted(subject)
        return Consent(purposes={name: name in granted for name in sorted(self.needed)}, time_ms=self.told_ms(subject))

    def granted(self, subject: str) -> frozenset[str]:
        """Purposes that the subject has said yes to (those that need consent only)."""
        return self._granted.get(subject, frozenset())

    def all_allowed(self, purposes: Collection[str], subject: str) -> bool:
        """Whether each of the purposes may be served for the subject; none of its person's may have said no."""
        if self.kin is not None:
            return all(self.own_allowed(purposes, one) for one in self.kin(subject))
        return self.own_allowed(purposes, subject)

    def own_allowed(self, purposes: Collection[str], subject: str) -> bool:
        """The same by the subject's own word alone."""
        yes = self._granted.get(subject, frozenset())
        return all(p in self._free or p in yes for p in purposes)

    def subjects_allowing(self, purposes: Collection[str]) -> tuple[str, ...]:
        """Who has agreed to all of these purposes, sorted."""
        return tuple(sorted(s for s in self._granted if self.all_allowed(purposes, s)))

    def told_ms(self, subject: str) -> int:
        """When the subject's newest word was given, unix ms; 0: never."""
        return self._told_ms.get(subject, 0)
