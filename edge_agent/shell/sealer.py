"""The sealer: closes the days of the ledger that are over, signs their Merkle roots with the node's key, and exits.

A process of its own, for the agent's main process never loads a cryptography library. `edge-agent ledger seal` does
the same by hand.
"""

import os
import sys
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from edge_agent.errors import SealFailed
from edge_agent.limits import DAY_MS
from edge_agent.shell.pipe import Ended, SealTask, parent_line
from edge_agent.shell.seals import FOLDER
from firmware_configs import ledger_evidence
from firmware_configs.errors import EdgeError
from firmware_configs.ledger import Seal


def main() -> None:
    """Entry of the child process."""
    line = parent_line()
    task = line.receive()
    if not isinstance(task, SealTask):
        sys.exit(2)
    try:
        seal(Path(task.state_dir), task.device, Path(task.node_key), task.now_ms)
    except EdgeError as error:
        line.send(Ended(code=error.code, reason=f"{error.what}; fix: {error.hint}"))
        return
    line.send(Ended())


def seal(state_dir: Path, device: str, node_key: Path, now_ms: int) -> list[Seal]:
    """Seal every day that is over and is not sealed; each file is written whole or not at all.

    Args:
        now_ms: unix ms; the day that it lies in stays open.
    Raises:
        SealFailed: no key, no room, or the chain is broken: what does not hold is not signed.
        EvidenceUnreadable: the ledger cannot be read.
    """
    key = _read_key(node_key)
    evidence = ledger_evidence.read(state_dir)
    flaws = ledger_evidence.examine(evidence).flaws
    if flaws:
        raise SealFailed(f"{flaws[0].where}: {flaws[0].what}", hint="keep a copy of the folder, and ask for an audit")
    made = []
    for one in ledger_evidence.sealed(evidence, device, now_ms // DAY_MS, now_ms):
        signed = msgspec.structs.replace(one, signature=key.sign(one.signed(), ec.ECDSA(hashes.SHA384())))
        _write(state_dir / FOLDER, signed)
        made.append(signed)
    return made


def sign(words: bytes, node_key: Path) -> bytes:
    """A signature by the node's key: ECDSA with SHA-384, DER.

    Raises:
        SealFailed: there is no key.
    """
    return _read_key(node_key).sign(words, ec.ECDSA(hashes.SHA384()))


def _write(folder: Path, one: Seal) -> None:
    place = folder / f"{ledger_evidence.day_of(one)}.seal"
    draft = place.with_suffix(".part")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with draft.open("wb") as file:
            file.write(msgspec.msgpack.encode(one))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
    except OSError as error:
        raise SealFailed(f"{place}: {error.strerror}", hint="make room, or the folder writable") from error


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    hint = "make one: edge-agent keys new; and name it: superlink.node_key"
    try:
        raw = path.read_bytes()
        is_ssh = raw.startswith(b"-----BEGIN OPENSSH")
        key = load_ssh_private_key(raw, None) if is_ssh else load_pem_private_key(raw, None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SealFailed(f"{path} is no private key: {error}", hint=hint) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SealFailed(f"{path} holds no EC key", hint=hint)
    return key


if __name__ == "__main__":
    main()
