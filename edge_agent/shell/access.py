"""Who is at the door, whether they may, and the entry that they looked: made before anything is shown.

The rules (access.toml), the log (looks.log) and the key of its marks lie in the agent's folder, beside the data that
they are about: whoever names another settings file does not get other rules.
"""

import contextlib
import errno
import fcntl
import grp
import hashlib
import hmac
import os
import pwd
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from edge_agent.errors import AccessRefused, LookNotEntered, RolesMalformed
from edge_agent.limits import DAY_MS
from edge_agent.roles import Action, Given, Person, Role, Rules, Token, needs_reason, under
from edge_agent.shell.clock import wall_ms
from edge_agent.shell.database import FILE
from firmware_configs import looks, strict
from firmware_configs.looks import Fold, Look

RULES = "access.toml"
KEY = "looks.key"
KEY_BYTES = 32
UNSET = 0xFFFFFFFF
"""The login uid of a process that nobody logged in for: services, containers."""
KEPT_DAYS = 90
"""Looks that are younger are never folded away."""
FOLD_BYTES = 8 * 1024 * 1024
"""From this size on, looks that were kept for long enough give way."""
LINE_BYTES_MAX = 8_192
"""Of one look: its texts are bounded, and each character takes six bytes at most."""


def who(state_dir: Path, environment: Mapping[str, str] = os.environ) -> Person:
    """The person at this command.

    The login uid is set by PAM and follows a person through sudo and su. Where there is none, SUDO_UID counts, for
    whoever could forge it (root, the agent's user) holds the files anyway. Else it is the process's user.
    """
    uid, owner = os.getuid(), _owner(state_dir)
    login = _login_uid()
    if login not in {UNSET, uid}:
        return _account(login, "login", owns=uid in {0, owner})
    told = environment.get("SUDO_UID", "")
    if uid in {0, owner} and told.isdigit() and int(told) != uid:
        return _account(int(told), "sudo", owns=True)
    return _account(uid, "login" if login == uid else "user", owns=uid in {0, owner})


def admit(
    state_dir: Path,
    action: Action,
    *,
    subject: str = "",
    what: str = "",
    reason: str = "",
    person: Person | None = None,
    now_ms: int | None = None,
) -> Role:
    """Let somebody in, and enter that they looked; a refusal is entered, too.

    Call it before anything is shown: what was not entered is not shown.

    Args:
        subject: whom the data is about; only a mark of the name is kept.
        what: command or page, and what it was asked for; no personal data.
        person: who asks; None: the person at this command.
        now_ms: unix ms; None: now.
    Returns:
        The role under which they come in.
    Raises:
        AccessRefused: they may not, or do not say why.
        RolesMalformed, LookNotEntered
    """
    person = person or who(state_dir)
    rules = read_rules(state_dir)
    role = under(rules, person, action, subject)
    if not state_dir.is_dir():
        return role or Role.OWNER  # nothing is here that could be looked at
    silent = role is not None and needs_reason(rules, role, action) and not reason.strip()
    allowed = role is not None and not silent
    note_look(
        state_dir,
        person,
        role if allowed else None,
        action,
        subject=subject,
        what=what,
        reason=reason,
        now_ms=wall_ms() if now_ms is None else now_ms,
    )
    if role is None:
        raise AccessRefused(
            f"{person.name} may not {action} here", hint="`edge-agent access roles` says who may; the owner gives roles"
        )
    if silent:
        raise AccessRefused(f"{person.name} has given no reason", hint="say why: --reason 'request 4711 by the person'")
    return role


def check(state_dir: Path, action: Action, person: Person | None = None) -> Role:
    """The same for what shows nobody's data: nothing is entered.

    Raises:
        AccessRefused, RolesMalformed
    """
    person = person or who(state_dir)
    role = under(read_rules(state_dir), person, action)
    if role is None:
        raise AccessRefused(
            f"{person.name} may not {action} here", hint="`edge-agent access roles` says who may; the owner gives roles"
        )
    return role


def note_look(
    state_dir: Path,
    person: Person,
    role: Role | None,
    action: Action,
    *,
    subject: str,
    what: str,
    reason: str,
    now_ms: int,
) -> Look:
    """Enter one look, on the medium when this returns.

    Args:
        role: None: they were refused.
    Raises:
        LookNotEntered: no folder, no room, no right to write, or a log that is damaged or full of young looks.
    """
    path = state_dir / looks.FILE
    try:
        about = looks.mark(subject, _key(state_dir)) if subject else ""
        with _locked(path) as log:
            number, previous, size = _end_of(log, path)
            look = Look(
                number=number + 1,
                time_ms=now_ms,
                who=_text(person.name, looks.NAME_MAX),
                by=person.by,
                role=role.value if role is not None else "",
                action=action,
                about=about,
                what=_text(what, looks.TEXT_MAX),
                reason=_text(reason.strip(), looks.TEXT_MAX),
                allowed=role is not None,
                previous=previous,
            )
            line = looks.line_of(look) + b"\n"
            if os.write(log, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(log)
            if size > FOLD_BYTES:
                _fold(path, now_ms - KEPT_DAYS * DAY_MS)
    except OSError as error:
        raise LookNotEntered(
            f"{path}: {error.strerror}", hint="a look is entered before anything is shown: make room, or it writable"
        ) from error
    return look


def mark_of(state_dir: Path, subject: str) -> str:
    """How this device's log names a subject.

    Raises:
        LookNotEntered: the key cannot be read or made.
    """
    try:
        return looks.mark(subject, _key(state_dir))
    except OSError as error:
        raise LookNotEntered(f"{state_dir / KEY}: {error.strerror}", hint="run it as the agent's user") from error


def read_rules(state_dir: Path) -> Rules:
    """Who has which role; nobody has one where there is no file.

    Raises:
        RolesMalformed: with the place, the nearest right key, and the fix.
    """
    path = state_dir / RULES
    if not path.exists():
        return Rules()
    document = strict.read_toml(strict.read_text(path, RolesMalformed), str(path), RolesMalformed)
    return strict.convert(document, Rules, str(path), RolesMalformed)


def give(state_dir: Path, name: str, role: Role) -> Rules:
    """Give an account (or `@group`) a role.

    Raises:
        RolesMalformed, LookNotEntered
    """
    rules = read_rules(state_dir)
    held = next((one.roles for one in rules.person if one.name == name), ())
    others = [one for one in rules.person if one.name != name]
    wanted = Given(name=name, roles=tuple(sorted({*held, role})))
    return _write(state_dir, msgspec.structs.replace(rules, person=(*others, wanted)))


def take(state_dir: Path, name: str) -> Rules:
    """Take all roles and tokens of a name away.

    Raises:
        RolesMalformed: it has none.
    """
    rules = read_rules(state_dir)
    person = tuple(one for one in rules.person if one.name != name)
    token = tuple(one for one in rules.token if one.name != name)
    if (person, token) == (rules.person, rules.token):
        raise RolesMalformed(f"`{name}` has no role here", hint="`edge-agent access ls` lists who has")
    return _write(state_dir, msgspec.structs.replace(rules, person=person, token=token))


def new_token(state_dir: Path, name: str, role: Role, expires_ms: int) -> str:
    """A secret for the device's page; it is shown once, only its hash is kept.

    Args:
        expires_ms: unix ms.
    """
    secret = secrets.token_urlsafe(32)
    rules, now_ms = read_rules(state_dir), wall_ms()
    token = Token(name=name, roles=(role,), sha256=_hash(secret), expires_ms=expires_ms)
    alive = tuple(one for one in rules.token if one.expires_ms > now_ms)
    _write(state_dir, msgspec.structs.replace(rules, token=(*alive, token)))
    return secret


def by_token(state_dir: Path, secret: str, now_ms: int) -> Person | None:
    """Whose token it is; None: nobody's, or it has ended.

    Raises:
        RolesMalformed
    """
    asked = _hash(secret)
    found = [one for one in read_rules(state_dir).token if hmac.compare_digest(one.sha256, asked)]
    if not found or found[0].expires_ms <= now_ms:
        return None
    return Person(name=found[0].name, by="token", roles=frozenset(found[0].roles))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The log's descriptor, for one writer at a time; made when it is not there."""
    while True:
        log = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(log, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(log).st_ino == path.stat().st_ino:  # else it was folded while we waited
                    hand_over(log, path.parent)
                    yield log
                    return
        finally:
            os.close(log)


def _end_of(log: int, path: Path) -> tuple[int, str, int]:
    """Number and hash of the newest line, and the log's size; what a power cut left of a line is taken away.

    Raises:
        LookNotEntered: the newest line is no look, or the log is full of looks that are too young to give way.
    """
    size = os.fstat(log).st_size
    if size > looks.BYTES_MAX:
        hint = f"keep a copy elsewhere, then move it away; looks of the last {KEPT_DAYS} days never give way"
        raise LookNotEntered(f"{path} has {size} bytes", hint=hint)
    since = max(0, size - LINE_BYTES_MAX * 2)
    tail = os.pread(log, size - since, since)
    whole, _, cut = tail.rpartition(b"\n")
    if cut:
        size -= len(cut)
        os.ftruncate(log, size)
    if not size:
        return 0, looks.GENESIS, 0
    line = whole.rpartition(b"\n")[2]
    entry = looks.entry_of(line)
    if entry is None:
        raise LookNotEntered(
            f"{path}: its newest line is no look", hint="keep a copy for the officer, then move the file away"
        )
    number = entry.number if isinstance(entry, Look) else entry.through
    return number, (looks.hash_of(line) if isinstance(entry, Look) else entry.head), size


def _fold(path: Path, before_ms: int) -> None:
    """Put a fold in the place of the oldest looks that were kept for long enough; the newest look stays."""
    lines = path.read_bytes().splitlines()
    gone: Fold | None = None
    kept = lines
    for place, line in enumerate(lines[:-1]):
        entry = looks.entry_of(line)
        if isinstance(entry, Look) and entry.time_ms >= before_ms:
            break
        if isinstance(entry, Look):
            gone = Fold(through=entry.number, head=looks.hash_of(line))
            kept = lines[place + 1 :]
    if gone is None:
        return
    _replace(path, b"\n".join([looks.line_of(gone), *kept]) + b"\n")


def _key(state_dir: Path) -> bytes:
    """The key of this device's marks; made when it is first needed."""
    path = state_dir / KEY
    if not path.exists():
        with _locked(state_dir / looks.FILE):
            if not path.exists():
                _replace(path, secrets.token_bytes(KEY_BYTES))
    return path.read_bytes()


def _write(state_dir: Path, rules: Rules) -> Rules:
    import tomli_w

    path = state_dir / RULES
    try:
        _replace(path, tomli_w.dumps(msgspec.to_builtins(rules)).encode())
    except OSError as error:
        raise RolesMalformed(f"{path}: {error.strerror}", hint="run it as the agent's user, or root") from error
    return rules


def _replace(path: Path, raw: bytes) -> None:
    """Write a file whole or not at all, for the folder's owner only."""
    draft = path.with_name(f".{path.name}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        hand_over(descriptor, path.parent)
        file.write(raw)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def hand_over(descriptor: int, folder: Path) -> None:
    """What root has made must be the agent's, or its user could not go on with it.

    Args:
        descriptor: of the file or folder that was made.
        folder: whose owner it is to belong to.
    """
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _text(text: str, chars_max: int) -> str:
    """What a command line gave, as text that can be written: bytes that are none become `?`."""
    return text[:chars_max].encode(errors="replace").decode()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _owner(state_dir: Path) -> int:
    """The agent's user: whose database it is; before there is one, whose folder; before that, whoever asks."""
    for path in (state_dir / FILE, state_dir):
        with contextlib.suppress(OSError):
            return path.stat().st_uid
    return os.getuid()


def _login_uid() -> int:
    try:
        return int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return UNSET


def _account(uid: int, by: str, *, owns: bool) -> Person:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Person(name=f"uid {uid}", by=by, owns=owns)  # type: ignore[arg-type]
    groups = []
    for gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        with contextlib.suppress(KeyError):
            groups.append(grp.getgrgid(gid).gr_name)
    return Person(name=entry.pw_name, by=by, groups=tuple(groups), owns=owns)  # type: ignore[arg-type]
