"""Who may do what on a device: roles, and the rules that give them to people.

Roles bind those who come in by our doors: the commands, and the device's page. The wall around the doors is the file
system's: whoever can read the agent's folder past the commands can read everything in it.
"""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

Action = Literal["status", "operate", "measure", "explain", "subject", "rights", "ledger", "looks", "roles"]
ACTIONS: dict[Action, str] = {
    "status": "see how the agent is: counters, bundles, health",
    "operate": "change what runs: bundles, keys",
    "measure": "see sums over everybody: metrics, experiments, evaluations",
    "explain": "see how a decision came about, with the values that it used",
    "subject": "see, and take a copy of, what is known about a person, and who is the same person",
    "rights": "carry out what a person asks: correct, erase, consent; without seeing what is held",
    "ledger": "see and take a copy of what left the device; no payloads are in it",
    "looks": "see who looked",
    "roles": "say who has which role",
}
BY = Literal["login", "sudo", "user", "token", "link"]


class Role(StrEnum):
    """What somebody is here."""

    OPERATOR = "operator"
    """Keeps devices running; sees nobody's data."""
    ENGINEER = "engineer"
    """Makes decisions better; sees sums, and single decisions for a reason."""
    OFFICER = "officer"
    """Watches over privacy; sees everything, changes nothing."""
    SUBJECT = "subject"
    """The person themselves, at the device's page: everything of their own, nothing of others."""
    OWNER = "owner"
    """The agent's own user, and root: they hold the files."""


GIVEN = (Role.OPERATOR, Role.ENGINEER, Role.OFFICER)
"""Roles that are given to people; the others follow from who they are."""

_ALLOWED: dict[Role, frozenset[Action]] = {
    Role.OPERATOR: frozenset({"status", "operate", "rights", "ledger"}),
    Role.ENGINEER: frozenset({"status", "measure", "explain"}),
    Role.OFFICER: frozenset({"status", "measure", "explain", "subject", "ledger", "looks"}),
    Role.SUBJECT: frozenset({"explain", "subject", "rights", "looks"}),
    Role.OWNER: frozenset(ACTIONS),
}
NAMED = frozenset({"explain", "subject", "rights"})
"""Actions that are about one person's data; each is entered, and a reason is asked for where the rules say so."""


class Person(Struct, frozen=True, kw_only=True):
    """Somebody at a door."""

    name: str
    by: BY
    """login: the account that logged in, also behind sudo and su; sudo: who called sudo; user: the process's user;
    token: of the rules; link: the device's page, for the person themselves."""
    groups: tuple[str, ...] = ()
    owns: bool = False
    """They are the agent's user, or root."""
    roles: frozenset[Role] = frozenset()
    """What a token or a link brings along."""
    subject: str = ""
    """Whom the data must be about; only with Role.SUBJECT."""


class Given(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Roles of an account; `@privacy` is a group."""

    name: str
    roles: tuple[Role, ...]


class Token(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Roles of whoever shows a secret, until it ends; only the secret's hash is kept."""

    name: str
    roles: tuple[Role, ...]
    sha256: str
    expires_ms: int


class Rules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file access.toml in the agent's folder."""

    reasons: bool = True
    """Everybody with a given role must say why they look at a person's data."""
    person: tuple[Given, ...] = ()
    token: tuple[Token, ...] = ()


def themselves(subject: str) -> Person:
    """The person whom the data is about, as the device's page has made sure."""
    return Person(name="themselves", by="link", roles=frozenset({Role.SUBJECT}), subject=subject)


def roles_of(rules: Rules, person: Person) -> frozenset[Role]:
    """All roles of somebody. Who has been given one is no owner any more, also as root: the role is what counts."""
    if person.roles:
        return person.roles
    names = {person.name, *(f"@{group}" for group in person.groups)}
    given = frozenset(role for one in rules.person if one.name in names for role in one.roles)
    if given:
        return given
    return frozenset({Role.OWNER}) if person.owns else frozenset()


def may(role: Role, action: Action) -> bool:
    """Whether a role allows an action; with Role.SUBJECT only for data about themselves, see `under`."""
    return action in _ALLOWED[role]


def under(rules: Rules, person: Person, action: Action, subject: str = "") -> Role | None:
    """The role under which somebody may do something; None: they may not.

    Args:
        subject: whom the data is about; empty: nobody in particular.
    """
    for role in Role:
        if role in roles_of(rules, person) and may(role, action):
            if role is Role.SUBJECT and (not subject or subject != person.subject):
                continue
            return role
    return None


def needs_reason(rules: Rules, role: Role, action: Action) -> bool:
    """Whether they must say why."""
    return rules.reasons and role in GIVEN and action in NAMED
