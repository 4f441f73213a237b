"""What an operator or a household asks about people: which subjects are one person, and why; link them, or split."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_agent.commands.options import json_option, profile_option, reason_option, settings_option, show

if TYPE_CHECKING:
    from edge_agent.identity import IdentityGraph

WAIT_S = 3.0
"""How long a command waits for a running agent, which looks every second."""


@click.group()
def people() -> None:
    """Which subjects of this device are one person, and why; say that some are, or are not. Nothing of it leaves."""


@people.command("ls")
@reason_option
@settings_option
@profile_option
@json_option
def list_people(reason: str, settings_path: Path, profile: Path | None, as_json: bool) -> None:
    """Every person with more than one subject, and what joins them."""
    from edge_agent.identity_told import persons, persons_in_words
    from edge_agent.shell.access import admit

    graph, state_dir = _graph(settings_path, profile)
    admit(state_dir, "subject", what="people ls", reason=reason)
    found = persons(graph, _now_ms())
    show(found, "\n".join(persons_in_words(found)), as_json)


@people.command("show")
@click.argument("subject")
@reason_option
@settings_option
@profile_option
@json_option
def show_one(subject: str, reason: str, settings_path: Path, profile: Path | None, as_json: bool) -> None:
    """SUBJECT's person, and how it stands with every subject that it could be compared with."""
    from edge_agent.identity_told import about, about_in_words
    from edge_agent.shell.access import admit

    graph, state_dir = _graph(settings_path, profile)
    admit(state_dir, "subject", subject=subject, what="people show", reason=reason)
    _check_known([subject], list(graph.sightings.seen))
    found = about(graph, subject, _now_ms())
    show(found, "\n".join(about_in_words(found)), as_json)


@people.command()
@click.argument("subjects", nargs=-1, required=True)
@reason_option
@settings_option
@profile_option
@json_option
def link(subjects: tuple[str, ...], reason: str, settings_path: Path, profile: Path | None, as_json: bool) -> None:
    """Say that SUBJECTS, two or more, are one person. It holds until they are split.

    It is refused for subjects with different accounts of one login, and while they were seen at two places at once.
    """
    if len(subjects) < 2:
        raise click.UsageError("name two subjects or more")
    _ask(subjects, reason, settings_path, profile, as_json, same=True)


@people.command()
@click.argument("subjects", nargs=-1, required=True)
@reason_option
@settings_option
@profile_option
@json_option
def split(subjects: tuple[str, ...], reason: str, settings_path: Path, profile: Path | None, as_json: bool) -> None:
    """Say that the first of SUBJECTS is not the same person as the others; alone: as anybody it is linked with now.

    Each keeps its own history. It holds until they are linked again.
    """
    _ask(subjects, reason, settings_path, profile, as_json, same=False)


def _ask(
    subjects: tuple[str, ...],
    reason: str,
    settings_path: Path,
    profile: Path | None,
    as_json: bool,
    *,
    same: bool,
) -> None:
    from edge_agent.errors import PeopleUnknown
    from edge_agent.happenings import PeopleAsked
    from edge_agent.shell import wish
    from edge_agent.shell.access import admit

    graph, state_dir = _graph(settings_path, profile)
    for subject in subjects:
        admit(state_dir, "rights", subject=subject, what=f"people {'link' if same else 'split'}", reason=reason)
    _check_known(subjects, list(graph.sightings.seen))
    if wish.read(state_dir) is not None:
        raise PeopleUnknown("another wish waits for the agent", hint="wait until it has run for some seconds")
    try:
        path = wish.leave(state_dir, PeopleAsked(subjects=subjects, same=same))
    except OSError as error:
        raise PeopleUnknown(f"{state_dir}: {error.strerror}", hint="run it as the agent's user") from error
    deadline = time.monotonic() + WAIT_S
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    taken = not path.exists()
    what = f"{', '.join(subjects)}: {'one person' if same else 'split'}"
    outcome = "the agent has taken it up; see `edge-agent people ls`" if taken else "taken up when the agent starts"
    show({"subjects": list(subjects), "same": same, "taken": taken}, f"{what}: {outcome}", as_json)


def _graph(settings_path: Path, profile: Path | None) -> "tuple[IdentityGraph, Path]":
    """The stored graph, and the agent's folder."""
    from edge_agent.errors import PeopleUnknown
    from edge_agent.settings import load as load_settings
    from edge_agent.shell.kin import graph
    from firmware_configs.loader import load

    settings = load_settings(settings_path, os.environ)
    state_dir = Path(settings.state_dir)
    found = graph(state_dir, load(profile or Path(settings.profile)).profile, _now_ms())
    if found is None:
        raise PeopleUnknown("the profile has no [identity]: every subject is a person of its own", hint="declare it")
    return found, state_dir


def _check_known(subjects: Sequence[str], known: Sequence[str]) -> None:
    from edge_agent.errors import PeopleUnknown

    for subject in subjects:
        if subject not in known:
            hint = f"known are {', '.join(sorted(known)[:20]) or 'none'}; only those who agreed are"
            raise PeopleUnknown(f"nothing is known of `{subject}` here", hint=hint)


def _now_ms() -> int:
    from edge_agent.shell.clock import wall_ms

    return wall_ms()
