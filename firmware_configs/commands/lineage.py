"""`edge-audit lineage` and `why`: how each field gets from the sensor to what leaves."""

from collections.abc import Sequence
from pathlib import Path

import click

from firmware_configs.commands.options import bundle_option, deliver, document, json_option, needs, out_option


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@bundle_option
@click.option("--format", "form", default="text", show_default=True, type=click.Choice(["text", "json", "svg", "html"]))
@out_option
@json_option
def lineage(path: Path, bundles: Sequence[Path], form: str, out: Path | None, as_json: bool) -> None:
    """Show how each field gets from the sensor to what leaves; derived, not written.

    As a table, or as a picture: edge-audit lineage PROFILE --format html --out lineage.html
    """
    import msgspec

    from firmware_configs.lineage import derive
    from firmware_configs.loader import load_shown

    profile = load_shown(path)
    derived = derive(profile, needs(bundles))
    if as_json or form == "json":
        deliver(document(msgspec.to_builtins(derived)), out)
        return
    if form in {"svg", "html"}:
        from firmware_configs.report import picture

        title = f"{profile.name} {profile.version}"
        deliver(picture.svg(derived, title) if form == "svg" else picture.html(derived, title), out)
        return
    width = max((len(step.source) for step in derived.steps), default=0)
    lines = [
        f"{step.source:<{width}}  →  {step.target}{f'  ({step.how})' if step.how else ''}" for step in derived.steps
    ]
    lines.append(f"unused fields: {', '.join(derived.unused) or 'none'}")
    if derived.missing:
        lines.append(f"missing: {'; '.join(derived.missing)}")
    deliver("\n".join(lines), out)


@click.command()
@click.argument("field")
@click.argument("path", type=click.Path(path_type=Path))
@bundle_option
@json_option
def why(field: str, path: Path, bundles: Sequence[Path], as_json: bool) -> None:
    """Say what FIELD is needed for: by its name, with its source (room.co2), or as lineage prints it (room:co2)."""
    import msgspec

    from firmware_configs.errors import UsageError
    from firmware_configs.lineage import derive, named
    from firmware_configs.lineage import why as reasons
    from firmware_configs.loader import load_shown

    profile = load_shown(path)
    known = [f.name for source in profile.source for f in source.field]
    name = named(profile, field)
    if name is None:
        raise UsageError(f"{path} collects no `{field}`", hint=f"it collects: {', '.join(known)}")
    steps = reasons(derive(profile, needs(bundles)), name)
    if as_json:
        click.echo(document({"field": name, "steps": msgspec.to_builtins(steps)}))
        return
    for step in steps:
        click.echo(f"{step.source}  →  {step.target}{f'  ({step.how})' if step.how else ''}")
    if not steps:
        click.echo(f"nothing needs `{name}`: do not collect it")
