"""What `edge-agent evaluate` is asked for, in words: policies as a profile writes them, a time, a placement."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.errors import PlacementUnknown, PolicyMalformed, SettingsMalformed
from firmware_configs import strict
from firmware_configs.errors import UsageError
from firmware_configs.loader import load
from firmware_configs.moments import moment
from firmware_configs.profile import Best, EpsilonGreedy, Placement, Policy

WINDOW_S = 86_400.0
"""Reward window where no profile says another."""
_KIND = re.compile(r"[a-z][a-z-]*")


class _Asked(Struct, frozen=True, forbid_unknown_fields=True):
    policy: Policy


def policy(text: str) -> Policy:
    """A policy as a profile writes it, `{kind = "epsilon-greedy", epsilon = 0.05}`, or its kind alone, with defaults.

    `uniform` is one, too: epsilon-greedy that always explores.

    Raises:
        PolicyMalformed: no TOML, no such kind, an unknown key (with the nearest right one), a value out of range.
    """
    if text == "uniform":
        return EpsilonGreedy(epsilon=1.0)
    written = f'{{kind = "{text}"}}' if _KIND.fullmatch(text) else text
    document = strict.read_toml(f"policy = {written}", "--policy", PolicyMalformed)
    return strict.convert(document, _Asked, "--policy", PolicyMalformed).policy


def in_words(given: Policy) -> str:
    """`epsilon-greedy epsilon=0.05`: the kind, and what differs from its defaults."""
    if given == EpsilonGreedy(epsilon=1.0):
        return "uniform"
    values = msgspec.to_builtins(given)
    plain = msgspec.to_builtins(type(given)())
    told = [f"{name}={value}" for name, value in values.items() if plain.get(name) != value]
    return " ".join([values["kind"], *told])


def policies(placement: str, texts: tuple[str, ...], profile: Path | None) -> tuple[dict[str, Policy], float]:
    """(name → policy, reward window in seconds): those written, then the profile's; else best and uniform.

    Raises:
        PolicyMalformed: see `policy`.
        PlacementUnknown: the profile has no such placement.
        EdgeError: the profile cannot be used.
    """
    found = {in_words(one): one for one in map(policy, texts)}
    window_s = WINDOW_S
    if profile is not None:
        own = _placement(placement, profile)
        window_s = own.reward_window_s
        found[f"profile: {in_words(own.policy)}"] = own.policy
        for arm in own.experiment.arms if own.experiment is not None else ():
            if arm.policy is not None:
                found[f"arm {arm.name}: {in_words(arm.policy)}"] = arm.policy
    return found or {"best": Best(), "uniform": EpsilonGreedy(epsilon=1.0)}, window_s


def _placement(name: str, profile: Path) -> Placement:
    known = load(profile).profile.placement
    own = next((one for one in known if one.name == name), None)
    if own is None:
        told = ", ".join(one.name for one in known) or "none"
        raise PlacementUnknown(f"{profile} has no placement `{name}`", hint=f"it has {told}")
    return own


def since(text: str, now_ms: int) -> int:
    """Unix ms of `7d`, `12h`, `30m` ago, or of an ISO 8601 date or time (UTC where it names no zone); 0 for nothing.

    Raises:
        SettingsMalformed: it is none of these.
    """
    if not text:
        return 0
    try:
        return moment(text, now_ms, "--since")
    except UsageError as error:
        raise SettingsMalformed(error.what, hint=error.hint) from None


def placement(name: str, held: Mapping[str, int]) -> str:
    """The placement that is meant: the only one, where none is named.

    Raises:
        PlacementUnknown: this device has decided nothing there, or at several places.
    """
    told = ", ".join(f"{one} ({count:,} decisions)" for one, count in held.items()) or "none yet"
    if name and name not in held:
        raise PlacementUnknown(f"this device has decided nothing at `{name}`", hint=f"it has at: {told}")
    if not name and len(held) != 1:
        raise PlacementUnknown("which placement?", hint=f"add --placement; this device has decided at: {told}")
    return name or next(iter(held))
