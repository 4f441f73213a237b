"""One contradiction, and the words for a name that nothing declares."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from firmware_configs.profile import Profile


class Fault(Struct, frozen=True):
    """One contradiction."""

    where: str
    what: str
    fix: str


def unknown(where: str, kind: str, names: Iterable[str], known: Iterable[str]) -> Iterator[Fault]:
    """A fault for each name that is not known."""
    there = sorted(set(known))
    for name in names:
        if name not in there:
            yield Fault(
                where,
                f"there is no {kind} `{name}`",
                f"declare it, or use one of: {', '.join(there) or 'none'}",
            )


def purposes(profile: Profile) -> list[str]:
    """Names of the declared purposes."""
    return [p.name for p in profile.purpose]


def fields(profile: Profile) -> list[str]:
    """Names of all fields that any source keeps."""
    return [f.name for s in profile.source for f in s.field]
