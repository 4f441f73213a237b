"""Private keys of the registry's roles: in files, each under a passphrase or readable by its owner only.

A key is two files: `NAME.key` (PKCS #8, PEM) and `NAME.pub`, by which it is found without its passphrase. Keys of root
and of approvers belong on media of their own; those of timestamp and snapshot must be at hand all the time.
"""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from securesystemslib.signer import CryptoSigner, SSlibKey

from coordinator.errors import RegistryKeyInvalid
from coordinator.shell.pki import write_private

Passphrase = Callable[[], bytes | None]
"""Asked once, when the first key under a passphrase is needed; None: there is none."""


def no_passphrase() -> bytes | None:
    """For keys that are not under one."""
    return None


class Keyring:
    """The keys that are at hand, in one or more folders."""

    def __init__(self, folders: Iterable[Path], passphrase: Passphrase = no_passphrase) -> None:
        self.folders = tuple(folders)
        self._ask = passphrase
        self._said: bytes | None = None

    def make(self, name: str, folder: Path | None = None, passphrase: bytes | None = None) -> SSlibKey:
        """A new Ed25519 key `NAME.key`, in the first folder unless another is given.

        Raises:
            RegistryKeyInvalid: a key of this name is there.
        """
        place = (folder or self.folders[0]) / f"{name}.key"
        if place.exists():
            raise RegistryKeyInvalid(f"{place} is there already", hint="choose another folder; keys are never replaced")
        private = ed25519.Ed25519PrivateKey.generate()
        kept = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kept)
        write_private(place, pem)
        public = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        place.with_suffix(".pub").write_bytes(public)
        return SSlibKey.from_crypto(private.public_key())

    def free_name(self, role: str, folder: Path | None = None) -> str:
        """A name for one more key of a role: `ROLE`, else `ROLE-2`, …"""
        place = folder or self.folders[0]
        number = 1
        while (place / f"{_numbered(role, number)}.key").exists():
            number += 1
        return _numbered(role, number)

    def signers(self, keyids: Iterable[str]) -> list[CryptoSigner]:
        """Those of the keys that are at hand.

        Raises:
            RegistryKeyInvalid: the passphrase is wrong.
        """
        wanted = set(keyids)
        found: dict[str, CryptoSigner] = {}
        for path in self._files():
            public = _public(path)
            if public is not None and public.keyid in wanted - set(found):
                found[public.keyid] = self._signer(path, public)
        return list(found.values())

    def known(self) -> set[str]:
        """The ids of all keys in the folders."""
        return {public.keyid for path in self._files() if (public := _public(path)) is not None}

    def unlocked(self, keyids: Iterable[str]) -> set[str]:
        """Which of the keys are at hand and under no passphrase: a program can sign with them by itself."""
        wanted = set(keyids)
        found = set()
        for path in self._files():
            public = _public(path)
            if public is not None and public.keyid in wanted and b"ENCRYPTED" not in path.read_bytes()[:64]:
                found.add(public.keyid)
        return found

    def _files(self) -> list[Path]:
        return [path for folder in self.folders if folder.is_dir() for path in sorted(folder.glob("*.key"))]

    def _signer(self, path: Path, public: SSlibKey) -> CryptoSigner:
        raw = path.read_bytes()
        secret = None
        if b"ENCRYPTED" in raw[:64]:
            self._said = self._said or self._ask()
            secret = self._said
        try:
            return CryptoSigner(serialization.load_pem_private_key(raw, secret), public)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise RegistryKeyInvalid(
                f"{path}: {'the passphrase is wrong' if secret else 'it is under a passphrase, and none was given'}",
                hint="give it at the prompt, by --passphrase-file FILE, or in EDGE_REGISTRY_PASSPHRASE",
            ) from error


def read_public(path: Path) -> SSlibKey:
    """A public key (PEM) that somebody else made.

    Raises:
        RegistryKeyInvalid: the file holds none.
    """
    try:
        loaded = serialization.load_pem_public_key(path.read_bytes())
        if not isinstance(loaded, ed25519.Ed25519PublicKey):
            raise ValueError("not an Ed25519 key")
        return SSlibKey.from_crypto(loaded)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        hint = "make one: edge-coordinator registry key NAME --out FOLDER; then give its NAME.pub"
        raise RegistryKeyInvalid(f"{path}: no public key: {error}", hint=hint) from error


def _numbered(role: str, number: int) -> str:
    return role if number == 1 else f"{role}-{number}"


def _public(path: Path) -> SSlibKey | None:
    """The public half; of keys without a `.pub` file (made before there was one) it is worked out."""
    beside = path.with_suffix(".pub")
    with contextlib.suppress(ValueError, TypeError, OSError, UnsupportedAlgorithm):
        if beside.exists():
            loaded = serialization.load_pem_public_key(beside.read_bytes())
        else:
            loaded = serialization.load_pem_private_key(path.read_bytes(), None).public_key()
        if isinstance(loaded, ed25519.Ed25519PublicKey):
            return SSlibKey.from_crypto(loaded)
    return None
