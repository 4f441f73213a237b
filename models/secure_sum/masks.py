"""Keys, sealed messages and masks, from the library `cryptography`: X25519, HKDF-SHA-256, ChaCha20(-Poly1305)."""

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from models.errors import SecureSumFailed

U64 = NDArray[np.uint64]
KEY_BYTES = 32
_NONCE = bytes(12)
"""Each sealing key seals one message, so the nonce never repeats under a key."""


def public_of(secret: bytes) -> bytes:
    """The X25519 public key of 32 secret bytes."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def agreed(secret: bytes, public: bytes, purpose: str) -> bytes:
    """The 32 bytes that two members share for a purpose, from one's secret and the other's public key.

    Raises:
        SecureSumFailed: the public key is none, or one that makes every agreement the same.
    """
    try:
        raw = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise SecureSumFailed(f"a public key cannot be used: {error}", hint="the member is left out") from None
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(raw)


def seal(key: bytes, plain: bytes, context: str) -> bytes:
    """Encrypt for whoever agreed on the key; `context` is bound to it. One message a key."""
    return ChaCha20Poly1305(key).encrypt(_NONCE, plain, context.encode())


def unseal(key: bytes, sealed: bytes, context: str) -> bytes:
    """What was sealed.

    Raises:
        SecureSumFailed: it was changed, or sealed for somebody else.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, sealed, context.encode())
    except (InvalidTag, ValueError):
        raise SecureSumFailed("a sealed share cannot be opened", hint="this member leaves the sum") from None


def stream(seed: bytes, size: int, ring_bits: int) -> U64:
    """Uniform integers below 2**ring_bits, uint64 (size,), the same for the same seed (ChaCha20's key stream)."""
    cipher = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor()
    words = np.frombuffer(cipher.update(bytes(4 * size)), "<u4").astype(np.uint64)
    return words & np.uint64((1 << ring_bits) - 1)
