"""Reads and examines receipts of erasures, without the device."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from firmware_configs.erasure import Copy, Receipt, mark
from firmware_configs.errors import EvidenceUnreadable
from firmware_configs.ledger_evidence import signed_by

BYTES_MAX = 1_048_576
HINT = "give what `edge-agent subject erase --out` wrote, or a file of the device's folder `erasures`"


def read(path: Path) -> Copy:
    """The person's copy, or the device's own receipt as a copy without a nonce.

    Raises:
        EvidenceUnreadable: it is neither.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise EvidenceUnreadable(f"{path}: {error.strerror}", hint=HINT) from None
    return parse(raw, str(path))


def parse(raw: bytes, path: str) -> Copy:
    """`read` for a document at hand; `path` is what errors call it."""
    if len(raw) > BYTES_MAX:
        raise EvidenceUnreadable(f"{path} is too large for a receipt", hint=HINT)
    try:
        copy = msgspec.json.decode(raw, type=Copy)
        bytes.fromhex(copy.nonce)
    except (msgspec.MsgspecError, ValueError):
        try:
            return Copy(receipt=msgspec.json.decode(raw, type=Receipt), nonce="")
        except (msgspec.MsgspecError, ValueError) as error:
            raise EvidenceUnreadable(f"{path} is no receipt: {error}", hint=HINT) from None
    return copy


def examine(copies: Sequence[Copy], key: ec.EllipticCurvePublicKey | None = None, subject: str = "") -> list[str]:
    """What does not fit, in words.

    Args:
        copies: oldest first; each must follow from the one before.
        key: the device's; None: signatures are not looked at.
        subject: whom they should be about; empty: not looked at.
    """
    flaws: list[str] = []
    previous: Receipt | None = None
    for copy in copies:
        receipt = copy.receipt
        where = f"receipt {receipt.number} of {receipt.device}"
        if key is not None and not signed_by(receipt.signature, receipt.signed(), key):
            flaws.append(f"{where}: not signed by that key")
        if previous is not None and receipt.previous != previous.hash():
            flaws.append(f"{where}: does not follow receipt {previous.number}")
        if subject and not copy.nonce:
            flaws.append(f"{where}: is the device's own, which names nobody; give the person's copy")
        elif subject and mark(subject, copy.nonce) not in receipt.marks:
            flaws.append(f"{where}: is about somebody else")
        flaws += [f"{where}: {what} still held {count} rows" for what, count in receipt.left.items()]
        if not receipt.compacted:
            flaws.append(f"{where}: free pages were not overwritten")
        previous = receipt
    return flaws
