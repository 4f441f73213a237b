"""What each person has agreed to, now."""

from collections.abc import Callable, Collection, Iterable, Mapping

from firmware_configs.consent_receipt import version_of
from firmware_configs.messages import Consent
from firmware_configs.profile import Purpose

NO_VERSIONS: Mapping[str, str] = {}


class Consents:
    """The newest word of each subject about each purpose; without a word, the answer is no."""

    def __init__(self, purposes: Iterable[Purpose]) -> None:
        known = tuple(purposes)
        self.needed = frozenset(p.name for p in known if p.consent == "required")
        self._free = frozenset(p.name for p in known if p.consent == "not-needed")
        self._objectable = frozenset(
            p.name for p in known if p.consent == "not-needed" and p.legal_basis == "legitimate-interests"
        )
        self.asked = self.needed | self._objectable
        """Purposes to which a person's word makes a difference: a yes that is needed, or an objection."""
        self.shares = frozenset(p.name for p in known if p.shares)
        """Purposes that Global Privacy Control says no to."""
        self._versions = {p.name: version_of(p.text) for p in known}
        self._granted: dict[str, frozenset[str]] = {}
        self._objected: dict[str, frozenset[str]] = {}
        self._lapsed: dict[str, frozenset[str]] = {}
        """A yes to another text than today's: it counts no more, and is asked again."""
        self._served: dict[str, frozenset[str]] = {}
        self._told_ms: dict[str, int] = {}
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self.kin: Callable[[str], Collection[str]] | None = None
        """Subject → all subjects whose consent counts, where some are known to be one person."""

    def hear(
        self,
        subject: str,
        purposes: Mapping[str, bool],
        time_ms: int,
        now_ms: int,
        versions: Mapping[str, str] = NO_VERSIONS,
        *,
        gpc: bool = False,
    ) -> bool:
        """Take a receipt in; an older one than the newest is ignored. Returns whether it counted.

        A word from a clock that runs ahead must not make the person's later no unheard: while the newest word is dated
        after now, every no counts, and only a yes must be newer.

        Args:
            versions: purpose → version of the text that the person read; where it says nothing, today's is meant.
            gpc: Global Privacy Control: a no to every purpose that sells or shares.
        """
        told_ms = self._told_ms.get(subject, 0)
        no = frozenset(name for name, granted in purposes.items() if not granted)
        if gpc:
            no |= self.shares
        if time_ms < told_ms:
            if told_ms <= now_ms or no.isdisjoint(self.served(subject)):
                return False
            self._set(subject, self.granted(subject) - no, self.objected(subject) | (no & self._objectable))
            return True
        said = frozenset(name for name, granted in purposes.items() if granted) - no
        lapsed = self._lapsed.get(subject, frozenset())
        old = frozenset(
            name for name in said if versions.get(name, self._versions.get(name)) != self._versions.get(name)
        )
        if time_ms == told_ms:  # the same receipt again, which the broker retains
            old |= frozenset(name for name in said & lapsed if name not in versions)
        yes = (said & self.needed) - old
        self._told_ms[subject] = time_ms
        if lapsed := (lapsed | (old & self.needed)) - yes - no:
            self._lapsed[subject] = self._same(lapsed)
        else:
            self._lapsed.pop(subject, None)
        self._set(
            subject, (self.granted(subject) | yes) - no - old, (self.objected(subject) - said) | no & self._objectable
        )
        return True

    def _set(self, subject: str, granted: frozenset[str], objected: frozenset[str]) -> None:
        self._granted[subject] = self._same(granted)
        if objected:
            self._objected[subject] = self._same(objected)
        else:
            self._objected.pop(subject, None)
        self._served[subject] = self._same(granted | (self._objectable - objected))

    def _same(self, purposes: frozenset[str]) -> frozenset[str]:
        """One set for all who agreed to the same: there are few sets and many people."""
        return self._sets.setdefault(purposes, purposes)

    def word(self, subject: str) -> Consent:
        """All that the subject has said, as one receipt: `hear` takes it back after a restart."""
        granted, lapsed = self.granted(subject), self._lapsed.get(subject, frozenset())
        said = {name: name in granted for name in sorted(self.needed - lapsed)}
        said |= dict.fromkeys(sorted(self.objected(subject)), False)
        versions = {name: self._versions[name] for name in sorted(granted)}
        return Consent(purposes=said, time_ms=self.told_ms(subject), versions=versions)

    def version(self, purpose: str) -> str:
        """Of today's text of a purpose; empty: there is no such purpose."""
        return self._versions.get(purpose, "")

    def lapsed(self, subject: str) -> frozenset[str]:
        """Purposes that the subject said yes to in other words than today's: to be asked again."""
        return self._lapsed.get(subject, frozenset())

    def objected(self, subject: str) -> frozenset[str]:
        """Purposes of legitimate interests that the subject objects to (GDPR Art. 21)."""
        return self._objected.get(subject, frozenset())

    def served(self, subject: str) -> frozenset[str]:
        """Of the purposes in `asked`, those that may be served for the subject."""
        return self._served.get(subject, self._objectable)

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
        no = self._objected.get(subject, frozenset())
        return all((p in self._free and p not in no) or p in yes for p in purposes)

    def subjects_allowing(self, purposes: Collection[str]) -> tuple[str, ...]:
        """Who has agreed to all of these purposes, sorted."""
        return tuple(sorted(s for s in self._granted if self.all_allowed(purposes, s)))

    def told_ms(self, subject: str) -> int:
        """When the subject's newest word was given, unix ms; 0: never."""
        return self._told_ms.get(subject, 0)
