"""A fleet's profile, or its experiments, from the registry: verified, read as the agent will read it, and compared with
what runs. A profile that widens what is collected is taken from the role of the fleet's approvers only."""

import hashlib
import os
import tomllib
from pathlib import Path
from typing import Any, Final, Literal

import tomli_w
from tuf.api.metadata import TargetFile

from edge_agent.errors import ApprovalMissing, DocumentUnfit
from edge_agent.shell.pipe import Fetched, FetchTask
from edge_agent.shell.trust import Trust
from edge_agent.shell.updater import find, refuse_full, settle
from firmware_configs import targets
from firmware_configs.errors import ProfileError
from firmware_configs.loader import Loaded, load, parse
from firmware_configs.widening import widened

DOCUMENT_BYTES_MAX: Final = 1_048_576
FOLDER: Final = "profiles"
OF_EXPERIMENTS: Final = ("experiments", "placement")
"""Tables of a set of experiments: `[experiments]` as in a profile, and `[placement.NAME]`, the experiment of each."""
TOLD_MAX: Final = 3


def fetch_document(trust: Trust, task: FetchTask) -> Fetched:
    """Fetch and try; the file that comes back is a whole profile in either case.

    Raises:
        UpdateError: each reason has its own class, see `edge_agent.errors`.
    """
    folder = Path(task.bundles_dir).parent / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    signed, people = _signed(trust, task)
    part = folder / f".{task.kind}-{task.name}-{task.version}{targets.DOCUMENT}.part"
    target = folder / f"{task.kind}-{task.name}-{task.version}{targets.DOCUMENT}"
    if not trust.is_held(signed, part):
        refuse_full(folder, part, signed)
        trust.bring(signed, part)
    try:
        text = _text(part)
        running = load(Path(task.profile))
        whole = text if task.kind == "profile" else composed(Path(task.profile).read_text("utf-8"), text, signed.path)
        new = _read(whole, signed.path)
        _refuse_other(task, new)
        refuse_unapproved(running, new, people, task.approvals)
    except (DocumentUnfit, ApprovalMissing, ProfileError):
        part.unlink(missing_ok=True)
        raise
    if whole is not text:
        part.write_text(whole, encoding="utf-8")
        descriptor = os.open(part, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    settle(part, target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    return Fetched(name=task.name, version=task.version, path=str(target), sha256=digest)


def refuse_unapproved(running: Loaded, new: Loaded, people: int, needed: int) -> None:
    """Refuse a profile that widens what is collected, unless enough people have signed it.

    Args:
        people: whose signatures it has; 1 for what the fleet's own role signs.
        needed: how many it takes; 0: none.
    Raises:
        ApprovalMissing: with what it widens.
    """
    if not needed or people >= needed:
        return
    wider = widened(running.profile, new.profile)
    if wider:
        told = "; ".join(f"{one.where}: {one.what}" for one in wider[:TOLD_MAX])
        more = f"; and {len(wider) - TOLD_MAX} more" if len(wider) > TOLD_MAX else ""
        raise ApprovalMissing(
            f"it widens what is collected ({told}{more}), and {people} of {needed} people signed it",
            hint="publish it with --approved, and let the fleet's approvers sign it",
        )


def composed(profile: str, experiments: str, where: str) -> str:
    """The profile with these experiments instead of its own: a placement that is not named has none.

    Raises:
        DocumentUnfit: `experiments` holds anything else, or names a placement that the profile has not.
    """
    document, other = _toml(profile, "the profile that runs"), _toml(experiments, where)
    if beyond := sorted(set(other) - set(OF_EXPERIMENTS)):
        raise DocumentUnfit(
            f"{where} holds `{beyond[0]}`; experiments hold {', '.join(OF_EXPERIMENTS)} only",
            hint="publish a profile instead",
        )
    placed = other.get("placement", {})
    places = [{k: v for k, v in place.items() if k != "experiment"} for place in document.get("placement", [])]
    unknown = sorted(set(placed) - {place.get("name") for place in places})
    if unknown:
        raise DocumentUnfit(f"{where}: the profile has no placement `{unknown[0]}`", hint="correct the name")
    for place in places:
        if place.get("name") in placed:
            place["experiment"] = placed[place["name"]]
    more = {"experiments": other["experiments"]} if "experiments" in other else {}
    kept = {key: value for key, value in document.items() if key not in OF_EXPERIMENTS}
    return tomli_w.dumps({**kept, "placement": places, **more})


def _signed(trust: Trust, task: FetchTask) -> tuple[TargetFile, int]:
    """The target, and how many people signed it."""
    approved = targets.approved(task.fleet, task.name, task.version)
    if trust.roles_of(approved) and trust.find(approved) is not None:
        (role, *_) = trust.roles_of(approved)
        return find(trust, task, approved, DOCUMENT_BYTES_MAX), trust.keys_of(role)[1]
    kind: Literal["profile", "experiment"] = "profile" if task.kind == "profile" else "experiment"
    return find(trust, task, targets.document(kind, task.fleet, task.name, task.version), DOCUMENT_BYTES_MAX), 1


def _refuse_other(task: FetchTask, new: Loaded) -> None:
    found = new.profile
    if found.device.fleet != task.fleet:
        raise DocumentUnfit(
            f"it is a profile of the fleet `{found.device.fleet}`, and this device is of `{task.fleet}`",
            hint="publish one for this fleet",
        )
    if task.kind == "profile" and (found.name, found.version) != (task.name, task.version):
        raise DocumentUnfit(
            f"it says that it is {found.name} {found.version}, and is signed as {task.name} {task.version}",
            hint="publish it again under its own name",
        )


def _read(text: str, where: str) -> Loaded:
    try:
        return parse(text, where)
    except ProfileError as error:
        raise DocumentUnfit(f"{error.code} {error.what}", hint=error.hint) from error


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentUnfit(f"{path.name} is not UTF-8: {error}", hint="save it as UTF-8, publish it again") from error


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DocumentUnfit(f"{where} is not TOML: {error}", hint="mend it, publish it again") from error
