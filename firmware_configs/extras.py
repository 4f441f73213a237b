"""Which extra of the distribution brings a library that is not installed here."""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires

_EXTRA = re.compile(r"extra == ['\"]([a-z]+)['\"]")
FOR = {"edge-coordinator": "coordinator", "edge-models": "build", "edge-agent": "web"}
"""Command → the extra that is named where several bring the library."""
INNER = frozenset({"dev", "bench", "release", "docs"})
"""Extras for those who develop edgeward: no command of a user needs them."""


def extra_of(module: str, program: str) -> str:
    """The extra to install; empty: none brings it.

    Args:
        module: the import that failed, such as `iotcore` or `opentelemetry.sdk`.
        program: the command that was called.
    """
    try:
        stated = requires("edgeward") or []
    except PackageNotFoundError:
        return ""
    return choose(module, program, stated)


def choose(module: str, program: str, stated: Iterable[str]) -> str:
    """The same of requirements as metadata states them, such as `iotcore<0.5,>=0.4; extra == 'coordinator'`."""
    top = module.split(".", maxsplit=1)[0].lower()
    found = []
    for line in stated:
        name = re.split(r"[\s\[<>=!~;(]", line, maxsplit=1)[0].lower().replace("-", "_")
        extra = _EXTRA.search(line)
        if extra and extra[1] not in INNER and (name == top or name.startswith(f"{top}_")):
            found.append(extra[1])
    preferred = FOR.get(program, "")
    return preferred if preferred in found else next(iter(found), "")
