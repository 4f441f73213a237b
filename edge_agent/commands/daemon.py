"""`run`, and `check` before it."""

from pathlib import Path
from typing import Any

import click

from edge_agent.commands.options import json_option, profile_option, settings_option, show


@click.command()
@settings_option
@profile_option
def run(settings_path: Path, profile: Path | None) -> None:
    """Run the agent until SIGTERM. Settings can be overridden by EDGE_AGENT_* variables."""
    from edge_agent.start import start

    start(settings_path, profile)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--bundle", "bundles", multiple=True, type=click.Path(path_type=Path), help="Bundle that must fit; repeat."
)
@json_option
def check(path: Path, bundles: tuple[Path, ...], as_json: bool) -> None:
    """Check a profile or a settings file (PATH). Exit code 2 when it cannot be used.

    With --bundle, also whether the profile collects what the bundle needs and allows its version. Rules that contradict
    each other or can have no effect are told as warnings.
    """
    import tomllib

    import msgspec

    from edge_agent.errors import SettingsMalformed
    from edge_agent.settings import load as load_settings
    from firmware_configs import designs, strict
    from firmware_configs.lineage import derive
    from firmware_configs.loader import load
    from firmware_configs.rules.conflict import RULES as CONFLICTS
    from firmware_configs.rules.rule import Case

    text = strict.read_text(path, SettingsMalformed)
    try:
        is_settings = "state_dir" in tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        is_settings = False
    if is_settings:
        settings = load_settings(path, {})
        show(
            {"settings": str(path), "device": settings.device}, f"{path}: settings of {settings.device}, fine", as_json
        )
        return
    loaded = load(path)
    for bundle in bundles:
        _check_bundle(loaded.profile, bundle)
    profile = loaded.profile
    data = {"profile": profile.name, "version": profile.version, "hash": loaded.hash, "bundles": len(bundles)}
    words = f"{len(profile.source)} sources, {len(profile.placement)} placements"
    told = designs.told(profile)
    case = Case(profile=profile, lineage=derive(profile))
    conflicts = [finding for rule in CONFLICTS for finding in rule.run(case, str(path))]
    lines = [f"{path}: profile {profile.name} {profile.version}, {words}, fine", *told]
    lines += [f"{one.level}: {one.where} {one.code}: {one.what}\n    fix: {one.fix}" for one in conflicts]
    data = {**data, "experiments": told, "conflicts": msgspec.to_builtins(conflicts)}
    show(data, "\n".join(lines), as_json)


def _check_bundle(profile: Any, path: Path) -> None:
    from packaging.specifiers import SpecifierSet

    from firmware_configs.errors import ProfileInconsistent
    from models.bundle import open_bundle

    spec = open_bundle(path).spec
    model = next((m for m in profile.model if m.name == spec.name), None)
    if model is None:
        raise ProfileInconsistent(f"{profile.name} has no model `{spec.name}`", hint="add a [[model]]")
    if not SpecifierSet(model.versions).contains(spec.version, prereleases=True):
        raise ProfileInconsistent(
            f"{spec.name} {spec.version} is not within `{model.versions}`",
            hint="widen `versions`, or take another bundle",
        )
    collected = {field.name for source in profile.source for field in source.field}
    if missing := sorted(set(spec.needed_fields) - collected):
        raise ProfileInconsistent(
            f"{spec.name} needs {', '.join(missing)}, which {profile.name} does not collect",
            hint="collect them, or build a bundle without them",
        )
