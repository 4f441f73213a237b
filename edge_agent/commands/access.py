"""`edge-agent access`: who has which role on this device, and who looked."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.commands.options import json_option, reason_option, show, state_option
from edge_agent.roles import ACTIONS, GIVEN, Role, may

if TYPE_CHECKING:
    from edge_agent.roles import Rules

HOUR_MS = 3_600_000
role_argument = click.argument("role", type=click.Choice([str(role) for role in GIVEN]))


@click.group()
def access() -> None:
    """Who may do what on this device, and who looked at what it knows about people.

    Roles bind those who come in by these commands and by the device's page. Who can read the agent's folder otherwise
    (root, the agent's user) is bound by the file system alone.
    """


@access.command()
@json_option
def roles(as_json: bool) -> None:
    """Every role, and what it may do."""
    found = {str(role): [action for action in ACTIONS if may(role, action)] for role in Role}
    lines = []
    for role, actions in found.items():
        lines += [role, *(f"  {action:<9} {ACTIONS[action]}" for action in actions)]
    show(found, "\n".join(lines), as_json)


@access.command("ls")
@state_option
@json_option
def list_access(state_dir: Path, as_json: bool) -> None:
    """Who has which role here, whose tokens hold, and who you are."""
    import msgspec

    from edge_agent.roles import roles_of
    from edge_agent.shell.access import read_rules, who

    rules, person = read_rules(state_dir), who(state_dir)
    own = sorted(roles_of(rules, person))
    told = msgspec.to_builtins(rules)
    found = {
        "you": {"name": person.name, "by": person.by, "roles": own},
        "reasons": rules.reasons,
        "people": told["person"],
        "tokens": [{key: one[key] for key in ("name", "roles", "expires_ms")} for one in told["token"]],
    }
    show(found, "\n".join(_in_words(rules, f"you are {person.name}: {', '.join(own) or 'no role'}")), as_json)


def _in_words(rules: "Rules", you: str) -> list[str]:
    from datetime import UTC, datetime

    lines = [f"{one.name:<20} {', '.join(one.roles)}" for one in rules.person]
    for one in rules.token:
        ends = datetime.fromtimestamp(one.expires_ms / 1_000, UTC)
        lines.append(f"{one.name:<20} {', '.join(one.roles)}, by token until {ends:%Y-%m-%d %H:%M} UTC")
    return [*(lines or ["no roles are given: only the agent's user and root come in"]), you]


@access.command()
@click.argument("name")
@role_argument
@state_option
@json_option
def grant(name: str, role: str, state_dir: Path, as_json: bool) -> None:
    """Give NAME, a user of this machine or `@GROUP`, a ROLE. It counts from their next command on.

    \b
    Example:
      edge-agent access grant carol officer
    """
    from edge_agent.shell.access import admit, give

    admit(state_dir, "roles", what=f"access grant {name} {role}")
    give(state_dir, name, Role(role))
    show({"name": name, "role": role}, f"{name} is {role} here now", as_json)


@access.command()
@click.argument("name")
@state_option
@json_option
def revoke(name: str, state_dir: Path, as_json: bool) -> None:
    """Take every role and token of NAME away."""
    from edge_agent.shell.access import admit, take

    admit(state_dir, "roles", what=f"access revoke {name}")
    take(state_dir, name)
    show({"name": name, "role": None}, f"{name} has no role here any more", as_json)


@access.command()
@click.argument("name")
@role_argument
@click.option("--hours", default=8, show_default=True, type=click.IntRange(1, 24 * 365), help="How long it holds.")
@state_option
@json_option
def token(name: str, role: str, hours: int, state_dir: Path, as_json: bool) -> None:
    """Make a secret with which NAME comes to the device's page in a ROLE. It is shown once."""
    from edge_agent.shell.access import admit, new_token
    from edge_agent.shell.clock import wall_ms

    admit(state_dir, "roles", what=f"access token {name} {role}")
    expires_ms = wall_ms() + hours * HOUR_MS
    secret = new_token(state_dir, name, Role(role), expires_ms)
    show({"name": name, "role": role, "token": secret, "expires_ms": expires_ms}, secret, as_json)


@access.command()
@click.option("--subject", default="", help="Only looks at this person.")
@click.option("--refused", is_flag=True, help="Only those who were not let in.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="The newest so many.")
@reason_option
@state_option
@json_option
@click.pass_context
def log(
    ctx: click.Context, subject: str, refused: bool, limit: int, reason: str, state_dir: Path, as_json: bool
) -> None:
    """Who looked, when, at what, why, and who was refused; newest last. This look is entered, too.

    People are shown by a mark, which only this device can tell from a name: --subject finds them. Exit code 1 when the
    chain is broken. `edge-audit looks` checks a copy anywhere.
    """
    from edge_agent.shell.access import admit, mark_of
    from firmware_configs import looks, shown

    admit(state_dir, "looks", subject=subject, what="access log", reason=reason)
    found = looks.read(state_dir)
    chosen = looks.about(found.looks, mark_of(state_dir, subject)) if subject else list(found.looks)
    chosen = [look for look in chosen if not (refused and look.allowed)][-limit:]
    lines = [shown.line(looks.in_words(look)) for look in chosen]
    lines += [f"does not fit: {flaw.where}: {flaw.what}" for flaw in found.flaws]
    lines.append(f"{len(found.looks):,} looks kept, head {found.head[:16]}…, {'broken' if found.flaws else 'whole'}")
    show(_data(found, chosen), "\n".join(lines), as_json)
    ctx.exit(1 if found.flaws else 0)


def _data(found: Any, chosen: Any) -> dict[str, Any]:
    import msgspec

    return {
        "looks": msgspec.to_builtins(chosen),
        "kept": len(found.looks),
        "folded": found.folded,
        "head": found.head,
        "flaws": msgspec.to_builtins(found.flaws),
    }
