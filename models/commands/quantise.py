"""`edge-models quantise`: a bundle with its weights in fewer bytes."""

from pathlib import Path

import click

from firmware_configs.cli_group import JSON_HELP


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--int8", "storage", flag_value="int8", help="8 bits a weight and a scale a column.")
@click.option("--float16", "storage", flag_value="float16", help="16 bits a weight.")
@click.option("--ratings", type=click.Path(path_type=Path), help="Measure models of interactions on these.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File, or existing folder.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def quantise(path: Path, storage: str | None, ratings: Path | None, out: Path, as_json: bool) -> None:
    """Write a bundle again with smaller weights; its card then says what that costs."""
    if storage is None:
        raise click.UsageError("give --int8 or --float16")
    import msgspec

    from models.bundle import open_bundle
    from models.quantise import quantise as write

    bundle = open_bundle(path)
    target = out / path.name if out.is_dir() else out
    if target.exists() and target.samefile(path):
        raise click.UsageError("--out is the bundle itself; name another file")
    made = write(bundle, "int8" if storage == "int8" else "float16", target, ratings)
    if as_json:
        click.echo(msgspec.json.encode(msgspec.structs.replace(made, path=str(made.path))).decode())  # type: ignore[arg-type, unused-ignore]
        return
    click.echo(f"{made.path} ({made.bytes_after:,} bytes, was {made.bytes_before:,})")
    click.echo(
        f"  weights     {made.weights_share:.3f} of their bytes; golden scores change by {made.score_change_max:.4g}"
    )
    if made.figure_before is not None and made.figure_after is not None:
        click.echo(f"  headline    {made.figure_before:.3f} before, {made.figure_after:.3f} after (percent)")
