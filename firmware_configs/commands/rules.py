"""`edge-audit rules` and `show`: what is looked for, and a profile in words."""

from pathlib import Path
from typing import Any

import click

from firmware_configs.commands.options import document, json_option


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def show(path: Path) -> None:
    """Tell a profile in words."""
    from firmware_configs.audit import in_words
    from firmware_configs.loader import load_shown

    for line in in_words(load_shown(path)):
        click.echo(line)


@click.command()
@click.argument("code", required=False)
@json_option
def rules(code: str | None, as_json: bool) -> None:
    """List the rules, or explain one, with an example that breaks it and the same mended.

    DM000 and DM9 are no rules about profiles: they say what does not load, and which waivers to look at.
    """
    from firmware_configs.errors import UsageError
    from firmware_configs.rules import ALL
    from firmware_configs.rules.besides import BESIDES, EXAMPLES
    from firmware_configs.rules.examples import of

    asked = code.upper() if code else None
    chosen = [rule for rule in (*ALL, *BESIDES) if asked == rule.code] if asked else list(ALL)
    if not chosen:
        raise UsageError(f"there is no rule `{code}`", hint="list them: edge-audit rules")
    if as_json:
        told: list[dict[str, Any]] = [
            {"code": rule.code, "level": rule.level, "title": rule.title, "why": rule.why, "law": rule.law}
            | ({"failing": example.failing, "passing": example.passing} if code else {})
            for rule, example in ((rule, EXAMPLES.get(rule.code) or of(rule.code)) for rule in chosen)
        ]
        click.echo(document(told))
        return
    for rule in chosen:
        click.echo(f"{rule.code}  {rule.level:<8} {rule.title}")
        if code:
            example = EXAMPLES.get(rule.code) or of(rule.code)
            click.echo(f"\n  {rule.why}" + (f"\n  See {rule.law}." if rule.law else ""))
            base = "" if rule.code in EXAMPLES else " (laid over a small profile that is in order)"
            click.echo(f"\nThis breaks it{base}:\n\n{_quoted(example.failing)}")
            click.echo(f"\nThis does not:\n\n{_quoted(example.passing)}")


def _quoted(fragment: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in fragment.strip().splitlines())
