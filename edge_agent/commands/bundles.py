"""What an operator of one device asks about its bundles: which there are, which should serve."""

import time
from pathlib import Path

import click

from edge_agent.commands.options import json_option, show, state_option

WAIT_S = 3.0
"""How long a command waits for a running agent, which looks every second."""


@click.group()
def bundles() -> None:
    """The bundles of this device: what serves, what is on trial, what gave way; use another, or go back."""


@bundles.command("ls")
@state_option
@json_option
def list_bundles(state_dir: Path, as_json: bool) -> None:
    """What serves, what is on trial with its figures, what gave way and why, and which versions are held."""
    from edge_agent.shell.access import check
    from edge_agent.shell.inspect import bundles as read

    check(state_dir, "status")
    found = read(state_dir)
    lines: list[str] = []
    for name, one in found.items():
        lines.append(f"{name:<16} {one['active'] or 'nothing'} serves; held: {', '.join(one['held']) or 'none'}")
        if one["trial"]:
            told = ", ".join(f"{key} {value:g}" for key, value in one["trial"]["figures"].items())
            lines.append(f"  {one['trial']['version']} in {one['trial']['stage']}: {told}")
        if one["previous"]:
            lines.append(f"  before: {one['previous']}")
        lines += [f"  {version} gave way: {reason}" for version, reason in one["refused"].items()]
    show(found, "\n".join(lines) or "no bundle was ever active here", as_json)


@bundles.command()
@click.argument("name")
@click.argument("version")
@click.option(
    "--rollout",
    type=click.Choice(["shadow", "canary", "full"]),
    default="full",
    show_default=True,
    help="Where it starts: scored beside the version that serves, serving a share of the subjects, or everyone.",
)
@state_option
@json_option
def use(name: str, version: str, rollout: str, state_dir: Path, as_json: bool) -> None:
    """Let VERSION of bundle NAME serve, which this device holds already (see `bundles ls`).

    It is probed first, in a process of its own. It counts for more than what the coordinator wants at present, until
    the coordinator wants something new.
    """
    from edge_agent.shell.access import check

    check(state_dir, "operate")
    _probe(state_dir / "bundles" / f"{name}-{version}.edgeward")
    asked = {"version": version, "to": rollout}
    _ask(state_dir, name, asked, f"{name} {version} ({rollout})", as_json)


@bundles.command("return")
@click.argument("name")
@state_option
@json_option
def give_back(name: str, state_dir: Path, as_json: bool) -> None:
    """Give up what is on trial of bundle NAME, or go back to the version before."""
    from edge_agent.shell.access import check
    from edge_agent.shell.inspect import bundles as read

    check(state_dir, "operate")
    one = read(state_dir).get(name)
    tried = one["trial"] if one is not None else None
    leaving = tried["version"] if tried else one["active"] if one is not None else ""
    _ask(state_dir, name, {"leaving": leaving}, f"{name} {leaving}, given up", as_json)


def _probe(path: Path) -> None:
    """Whatever the device runs of it; then what an earlier load may have died of counts no more."""
    from edge_agent.shell.pipe import ProbeTask
    from edge_agent.shell.probing import probed
    from models.bundle import open_bundle

    if not path.exists():
        return  # the settings' own, or not there: the agent says so
    probed(ProbeTask(path=str(path)))
    if "model.tflite" in open_bundle(path).files:
        probed(ProbeTask(path=str(path), backend="tflite"))
    for mark in ("loading", "died"):
        path.with_name(f".{path.stem}.{mark}").unlink(missing_ok=True)


def _ask(state_dir: Path, name: str, asked: dict[str, str], words: str, as_json: bool) -> None:
    import msgspec

    from edge_agent.errors import BundleUnavailable
    from edge_agent.happenings import BundleAsked
    from edge_agent.shell import wish
    from edge_agent.shell.inspect import bundles as read

    found = read(state_dir)
    if name not in found:
        hint = f"known are {', '.join(found) or 'none'}"
        raise BundleUnavailable(f"this device has no bundle `{name}`", hint=hint)
    version = asked.get("version", "")
    if version and version not in found[name]["held"]:
        hint = f"held are {', '.join(found[name]['held']) or 'none'}; deploy it with edge-coordinator"
        raise BundleUnavailable(f"this device does not hold {name} {version}", hint=hint)
    try:
        path = wish.leave(state_dir, msgspec.convert({"type": "bundle-asked", "name": name, **asked}, BundleAsked))
    except OSError as error:
        raise BundleUnavailable(f"{state_dir}: {error.strerror}", hint="run it as the agent's user") from error
    deadline = time.monotonic() + WAIT_S
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    taken = not path.exists()
    outcome = "the agent has taken it up; see `edge-agent bundles ls`" if taken else "taken up when the agent starts"
    show({"asked": words, "taken": taken}, f"{words}: {outcome}", as_json)
