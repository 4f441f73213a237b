"""`edge-coordinator registry init|key|sign|rotate|renew|approvers`: who signs, and signing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.options import home_option, json_option, show
from coordinator.commands.registry_keys import keys_option, missing_lines, opened, passphrase, passphrase_option

if TYPE_CHECKING:
    from coordinator.shell.registry_store import Registry

folder_option = click.option(
    "--out", "folder", type=click.Path(path_type=Path, file_okay=False), help="Folder in which keys are made."
)


@click.command("init")
@click.option("--root-keys", default=3, show_default=True, type=click.IntRange(1, 16), help="Keys of the root.")
@click.option("--threshold", default=2, show_default=True, type=click.IntRange(1, 16), help="How many of them sign.")
@click.option("--targets-keys", default=1, show_default=True, type=click.IntRange(1, 16), help="Keys of targets.")
@click.option("--targets-threshold", default=1, show_default=True, type=click.IntRange(1, 16))
@click.option("--targets-offline", is_flag=True, help="Keys of targets go to --out, too: a new bundle needs people.")
@click.option("--plain", is_flag=True, help="Keys under no passphrase; for media that are locked away, and for tests.")
@folder_option
@passphrase_option
@home_option
@json_option
def init(
    root_keys: int,
    threshold: int,
    targets_keys: int,
    targets_threshold: int,
    targets_offline: bool,
    plain: bool,
    folder: Path | None,
    passphrase_file: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Make a registry whose root is held by several keys. Without this, `up` makes one with a single key a role."""
    from coordinator.shell.ceremony import Plan
    from coordinator.shell.ceremony import init as run
    from coordinator.shell.registry_store import Registry

    secret = None if plain else passphrase(passphrase_file, confirm=True)
    if not plain and not secret:
        raise click.UsageError("give a passphrase (--passphrase-file FILE), or say --plain")
    plan = Plan(
        root_keys=root_keys,
        root_threshold=threshold,
        targets_keys=targets_keys,
        targets_threshold=targets_threshold,
        offline=folder,
        targets_offline=targets_offline,
    )
    own = Registry(home, [folder] if folder is not None else [], lambda: secret)
    made = run(own, plan, secret)
    lines = [
        f"a registry in {home}, root signed by {threshold} of {root_keys} keys:",
        *[f"  {path}" for path in made],
        "now:",
        "  1. move each of these keys to a medium of its own, with a person of its own; keep a copy of each elsewhere",
        "  2. write down the passphrase, and keep it apart from the keys",
        f"  3. give devices the root: edge-coordinator registry root --home {home} > root.json",
        "  4. once a year, or when a key may be known to others: edge-coordinator registry rotate root",
        "  5. look: edge-coordinator registry verify",
    ]
    show({"keys": [str(path) for path in made], "root": str(own.root_path)}, "\n".join(lines), as_json)


@click.command("key")
@click.argument("name")
@click.option("--out", "folder", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--plain", is_flag=True, help="Under no passphrase.")
@passphrase_option
@json_option
def key(name: str, folder: Path, plain: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a key NAME on the machine of whoever will sign with it; only NAME.pub is given away."""
    from coordinator.shell.keyring import Keyring

    secret = None if plain else passphrase(passphrase_file, confirm=True)
    if not plain and not secret:
        raise click.UsageError("give a passphrase (--passphrase-file FILE), or say --plain")
    public = Keyring([folder]).make(name, passphrase=secret)
    text = f"made {folder / name}.key; keep it. Give away {folder / name}.pub. Its id: {public.keyid}"
    show({"id": public.keyid, "public": str(folder / f"{name}.pub")}, text, as_json)


@click.command("sign")
@click.option(
    "--copy",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Sign this copy of a pending document, in place; needs no registry here.",
)
@click.option(
    "--take",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Take the signatures of a copy that was signed elsewhere.",
)
@click.option("--drop", is_flag=True, help="Give up what waits.")
@keys_option
@passphrase_option
@home_option
@json_option
def sign(
    copy: Path | None,
    take: Path | None,
    drop: bool,
    keys: Sequence[Path],
    passphrase_file: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Add the signatures of the keys at hand to what waits; it holds as soon as there are enough."""
    from coordinator.shell import ceremony as ceremonies
    from coordinator.shell.keyring import Keyring

    if copy is not None:
        added = ceremonies.sign_copy(copy, Keyring(keys, lambda: passphrase(passphrase_file)))
        show({"added": added}, f"added {added} signature{'s' if added != 1 else ''} to {copy}", as_json)
        return
    own = opened(home, keys, passphrase_file)
    waited = sorted(own.repository.waiting())
    if drop:
        own.repository.drop()
        show({"dropped": waited}, f"gave up {', '.join(waited) or 'nothing'}", as_json)
        return
    missing = ceremonies.take(own, take) if take is not None else ceremonies.sign(own)
    done = f"{', '.join(waited)}: signed, and in force" if waited and not missing else "nothing waits"
    text = "\n".join(missing_lines(missing) or [done])
    show({"signed": waited if not missing else [], "missing": missing}, text, as_json)


@click.command("rotate")
@click.argument("role")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 16), help="New keys to make.")
@click.option("--threshold", default=1, show_default=True, type=click.IntRange(1, 16), help="How many of them sign.")
@click.option(
    "--public-key",
    "public",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A new key that somebody else made; repeat. Instead of --count.",
)
@click.option("--keep", is_flag=True, help="The old keys go on signing, too.")
@click.option("--plain", is_flag=True, help="New keys of root or targets under no passphrase.")
@folder_option
@keys_option
@passphrase_option
@home_option
@json_option
def rotate(
    role: str,
    count: int,
    threshold: int,
    public: Sequence[Path],
    keep: bool,
    plain: bool,
    folder: Path | None,
    keys: Sequence[Path],
    passphrase_file: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Replace the keys of ROLE (root, targets, snapshot, timestamp, bundle-NAME, fleet-NAME).

    A root that many keys sign needs the signatures of the old keys and of the new ones. Replace snapshot and timestamp
    when one of them may be known to others: devices then forget the versions that it signed.
    """
    from coordinator.shell.ceremony import ALWAYS_AT_HAND
    from coordinator.shell.ceremony import rotate as run
    from coordinator.shell.keyring import read_public

    secret = None
    if role in ("root", "targets") and not public and not plain and role not in ALWAYS_AT_HAND:
        secret = passphrase(passphrase_file, confirm=True)
    every = [*keys, *([folder] if folder is not None else [])]
    own = opened(home, [path for path in every if path.is_dir() or path == folder], passphrase_file)
    missing = run(
        own,
        role,
        new=[read_public(path) for path in public],
        count=count,
        threshold=threshold,
        folder=folder,
        passphrase=secret,
        keep=keep,
    )
    text = "\n".join(missing_lines(missing) or [f"{role} has new keys; devices follow at their next update"])
    show({"role": role, "missing": missing}, text, as_json)


@click.command("renew")
@click.argument("role")
@keys_option
@passphrase_option
@home_option
@json_option
def renew(role: str, keys: Sequence[Path], passphrase_file: Path | None, home: Path, as_json: bool) -> None:
    """Sign ROLE again with a new expiry date; only roles whose keys are not at hand need it."""
    from coordinator.shell.ceremony import renew as run

    missing = run(opened(home, keys, passphrase_file), role)
    text = "\n".join(missing_lines(missing) or [f"{role} is signed again"])
    show({"role": role, "missing": missing}, text, as_json)


@click.command("approvers")
@click.argument("fleet")
@click.option(
    "--public-key",
    "public",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="NAME.pub of one approver (`registry key`); repeat.",
)
@click.option("--threshold", default=2, show_default=True, type=click.IntRange(1, 16), help="How many must sign.")
@keys_option
@passphrase_option
@home_option
@json_option
def approvers(
    fleet: str,
    public: Sequence[Path],
    threshold: int,
    keys: Sequence[Path],
    passphrase_file: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Name who must sign a profile of FLEET that widens what is collected."""
    from coordinator.shell.keyring import read_public

    if threshold > len(public):
        raise click.UsageError(f"{threshold} of {len(public)} keys cannot be reached")
    own = opened(home, keys, passphrase_file)
    missing = own.approvers(fleet, [read_public(path) for path in public], threshold)
    text = f"{threshold} of {len(public)} approve for {fleet}"
    lines = [text, *missing_lines(missing)]
    show({"fleet": fleet, "threshold": threshold, "missing": missing}, "\n".join(lines), as_json)


def list_roles(own: "Registry", as_json: bool) -> None:
    """Each role's keys, threshold and expiry."""
    from coordinator.shell.repository import ROLES

    rows = []
    for role in (*ROLES, *own.repository.delegated()):
        owner = own.repository.current("root" if role in ROLES else "targets").signed
        held, signed = owner.get_delegated_role(role), own.repository.current(role).signed
        rows.append(
            {
                "role": role,
                "version": signed.version,
                "expires": signed.expires.isoformat(),
                "keys": list(held.keyids),
                "threshold": held.threshold,
                "here": sorted(own.keyring.unlocked(held.keyids)),
            }
        )
    lines = [
        f"{r['role']:<24} version {r['version']:<4} {r['threshold']} of {len(r['keys'])} keys, "
        f"{len(r['here'])} at hand, until {r['expires'][:10]}"
        for r in rows
    ]
    show(rows, "\n".join(lines), as_json)


def list_pending(own: "Registry", as_json: bool) -> None:
    """What waits for signatures, and whose."""
    import msgspec

    from coordinator.shell.ceremony import pending

    found = pending(own)
    lines = [
        f"{one.role} version {one.version}: {one.missing} missing of keys "
        f"{', '.join(keyid[:8] for keyid in one.may_sign)}\n  {one.path}"
        for one in found
    ]
    show([msgspec.to_builtins(one) for one in found], "\n".join(lines) or "nothing waits", as_json)
