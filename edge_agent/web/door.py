"""Who may come in: links and PINs that name one visitor each, are used once, and end by themselves.

An invitation is a file in the agent's folder, written by `edge-agent web link` and deleted by whoever comes in with it;
so it is used once, whatever processes there are. The link carries the invitation's number and a signature over all of
it (HMAC-SHA-256 under a key that never leaves the folder), and not the visitor's name.
"""

import base64
import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.errors import LinkInvalid, StoreUnavailable
from edge_agent.shell.access import hand_over

FOLDER = "web"
KEY = "key"
KEY_BYTES = 32
NUMBER_BYTES = 12
SIGNATURE_BYTES = 16
PIN_DIGITS = 6
TRIES_MAX = 5
"""Wrong PINs, after which every PIN that is open ends: six digits are few."""
INVITATIONS_MAX = 64
AGAIN = "ask for a new one: `edge-agent web link NAME`"


class Invitation(Struct, frozen=True, kw_only=True):
    """One visitor's way in."""

    number: str
    """Hex."""
    subject: str
    """Whose data may be seen, and changed."""
    expires_ms: int
    pin_mark: str = ""
    """HMAC of the PIN; empty: there is none."""
    tries: int = 0
    """Wrong PINs since it was made."""


class Made(Struct, frozen=True, kw_only=True):
    """What the visitor is given."""

    token: str
    """For the link."""
    pin: str
    """To be typed instead; empty: none was wanted."""
    expires_ms: int


class Door:
    """The invitations of one device. Every method reads the folder anew: commands and the page share it."""

    def __init__(self, state_dir: Path) -> None:
        """Make the folder and the key where there are none.

        Raises:
            StoreUnavailable: the folder cannot be written.
        """
        self._folder = state_dir / FOLDER
        try:
            if not self._folder.exists():
                self._folder.mkdir(mode=0o700, exist_ok=True)
                descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
                hand_over(descriptor, state_dir)
                os.close(descriptor)
            self._key = _key(self._folder / KEY)
        except OSError as error:
            raise StoreUnavailable(f"{self._folder}: {error.strerror}", hint="run it as the agent's user") from error

    def invite(self, subject: str, expires_ms: int, now_ms: int, *, pin: bool) -> Made:
        """A new way in.

        Raises:
            StoreUnavailable: it cannot be written, or too many are open.
        """
        number = secrets.token_hex(NUMBER_BYTES)
        digits = f"{secrets.randbelow(10**PIN_DIGITS):0{PIN_DIGITS}d}" if pin else ""
        made = Invitation(
            number=number,
            subject=subject,
            expires_ms=expires_ms,
            pin_mark=self._pin_mark(number, digits) if pin else "",
        )
        with self._alone():
            if len(self._open(now_ms)) >= INVITATIONS_MAX:
                raise StoreUnavailable(f"{INVITATIONS_MAX} links are open", hint="wait until some have ended")
            self._write(made)
        return Made(token=self._token(made), pin=digits, expires_ms=expires_ms)

    def enter_by_link(self, token: str, now_ms: int) -> Invitation:
        """Come in; the link is used up.

        Raises:
            LinkInvalid: it is none of ours, was used, or has ended.
        """
        given = token.encode()
        with self._alone():
            for one in self._open(now_ms):
                if hmac.compare_digest(self._token(one).encode(), given):
                    return self._used_up(one)
        raise LinkInvalid("this link was used already, or is too old", hint=AGAIN)

    def enter_by_pin(self, pin: str, now_ms: int) -> Invitation:
        """Come in; the PIN is used up. A wrong one counts against every PIN that is open.

        Raises:
            LinkInvalid: it is none of ours, was used, or has ended.
        """
        with self._alone():
            waiting = [one for one in self._open(now_ms) if one.pin_mark and one.tries < TRIES_MAX]
            found = [one for one in waiting if hmac.compare_digest(self._pin_mark(one.number, pin), one.pin_mark)]
            if len(found) == 1:  # of two with the same digits nobody can say which one is meant
                return self._used_up(found[0])
            for one in waiting:
                self._write(msgspec.structs.replace(one, tries=one.tries + 1))
        raise LinkInvalid("this number is not right, was used already, or is too old", hint=AGAIN)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process and thread at a time, so that nobody writes again what another one has used up."""
        with (self._folder / KEY).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _open(self, now_ms: int) -> list[Invitation]:
        """Those that have not ended; the others are deleted."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                one = msgspec.json.decode(path.read_bytes(), type=Invitation)
            except (OSError, msgspec.MsgspecError):
                continue
            if one.expires_ms > now_ms:
                found.append(one)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()
        return found

    def _used_up(self, one: Invitation) -> Invitation:
        try:
            self._path(one).unlink()
        except OSError as error:
            raise StoreUnavailable(f"{self._path(one)}: {error.strerror}", hint="make the folder writable") from error
        return one

    def _write(self, one: Invitation) -> None:
        path = self._path(one)
        draft = path.with_suffix(f".{os.getpid()}.part")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                hand_over(descriptor, self._folder)
                file.write(msgspec.json.encode(one))
            draft.replace(path)
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error.strerror}", hint="run it as the agent's user") from error

    def _path(self, one: Invitation) -> Path:
        return self._folder / f"{one.number}.json"

    def _token(self, one: Invitation) -> str:
        """Number and signature, in letters that a link may have."""
        words = f"link\0{one.number}\0{one.subject}\0{one.expires_ms}".encode()
        signature = hmac.new(self._key, words, hashlib.sha256).digest()[:SIGNATURE_BYTES]
        return base64.urlsafe_b64encode(bytes.fromhex(one.number) + signature).decode().rstrip("=")

    def _pin_mark(self, number: str, pin: str) -> str:
        return hmac.new(self._key, f"pin\0{number}\0{pin}".encode(), hashlib.sha256).hexdigest()


def _key(path: Path) -> bytes:
    """The key, made when there is none; of two that make it at once, the first counts, and both get it whole.

    Raises:
        OSError: it cannot be made or read.
        StoreUnavailable: what lies there is none.
    """
    if not path.exists():
        draft = path.with_name(f".{KEY}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            hand_over(descriptor, path.parent)
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise StoreUnavailable(f"{path} is no key", hint="remove it: open links end, and a new one is made")
    return key
