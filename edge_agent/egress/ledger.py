"""The egress ledger: nothing leaves that was not entered here first.

Rows are chained by hash (`firmware_configs.ledger`, which the auditor reads too). `Entered` is made only here, and
the outbox takes nothing else.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from edge_agent.errors import BudgetSpent, EgressUndeclared
from edge_agent.limits import DAY_MS
from firmware_configs.ledger import GENESIS, Pruned, Row, first_break, pack, prune, unpack
from firmware_configs.profile import Egress

__all__ = ["GENESIS", "Entered", "Ledger", "Pruned", "Row", "first_break", "key_of", "prune", "unpack"]

_MAKER: Final = object()


class Entered:
    """Proof that the ledger holds a row for a payload."""

    __slots__ = ("kind", "seq")

    def __init__(self, maker: object, *, seq: int, kind: str) -> None:
        if maker is not _MAKER:
            raise TypeError("Entered is made by edge_agent.egress.ledger only")
        self.seq = seq
        self.kind = kind


class Ledger:
    """The head of the chain, and what each kind may still send today."""

    def __init__(self, declared: Iterable[Egress], profile_hash: str) -> None:
        self._declared = {egress.kind: egress for egress in declared}
        self._profile = profile_hash
        self.seq = 0
        self.head = GENESIS
        self._day = 0
        self._spent: dict[str, int] = {}
        self.entered: dict[str, int] = {}
        """Kind → bytes entered since the start of the process."""

    def spent(self, kind: str, now_ms: int) -> int:
        """Bytes of a kind entered today (UTC)."""
        return self._spent.get(kind, 0) if now_ms // DAY_MS == self._day else 0

    def declared(self, kind: str) -> Egress | None:
        """The profile's [[egress]] of a kind."""
        return self._declared.get(kind)  # type: ignore[call-overload,no-any-return]

    def restore(self, rows: Iterable[bytes], now_ms: int) -> None:
        """Take up the chain again from its newest rows, oldest first.

        Rows of the last day are enough: they carry the head and what was spent today.
        """
        today = now_ms // DAY_MS
        for packed in rows:
            row = unpack(packed)
            self.seq, self.head = row.seq, row.hash()
            if row.time_ms // DAY_MS == today:
                self._roll(row.time_ms)
                self._spent[row.kind] = self._spent.get(row.kind, 0) + row.bytes

    def enter(self, kind: str, *, size: int, sha256: str, now_ms: int, privacy: str = "") -> tuple[Entered, str, bytes]:
        """Enter something that is about to leave.

        Args:
            kind: an egress kind of the profile.
            size: payload bytes.
            sha256: of the payload, hex.
        Returns:
            The proof, and the row's key and value to store in the same transaction.
        Raises:
            EgressUndeclared: the profile lets nothing of this kind out.
            BudgetSpent: the kind's bytes of this day (UTC) are used up.
        """
        egress = self.declared(kind)
        if egress is None:
            raise EgressUndeclared(
                f"the profile declares no egress of kind `{kind}`",
                hint=f'add an [[egress]] with kind = "{kind}"',
            )
        self._roll(now_ms)
        spent = self._spent.get(kind, 0)
        if spent + size > egress.bytes_day_max:
            raise BudgetSpent(
                f"`{kind}` has sent {spent} of {egress.bytes_day_max} bytes today; {size} more do not fit",
                hint="wait for the next day (UTC), or raise bytes_day_max in the profile",
            )
        self._spent[kind] = spent + size
        self.entered[kind] = self.entered.get(kind, 0) + size
        row = Row(
            seq=self.seq + 1,
            kind=kind,
            destination=egress.destination,
            bytes=size,
            sha256=sha256,
            purposes=egress.purposes,
            profile=self._profile,
            privacy=privacy,
            time_ms=now_ms,
            previous=self.head,
        )
        packed = pack(row)
        self.seq, self.head = row.seq, hashlib.sha256(packed).hexdigest()
        return Entered(_MAKER, seq=row.seq, kind=kind), key_of(row.seq), packed

    def _roll(self, now_ms: int) -> None:
        day = now_ms // DAY_MS
        if day != self._day:
            self._day, self._spent = day, {}


def key_of(seq: int) -> str:
    """The store's key of a row: keys sort as rows follow."""
    return f"{seq:012d}"
