"""`edge-models compare`: two bundles side by side, with intervals and a plot."""

from pathlib import Path

import click

from firmware_configs.cli_group import JSON_HELP


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--ratings", type=click.Path(path_type=Path), help="For rankers: `user,item,rating,time` a line.")
@click.option("--personalise", is_flag=True, help="For rankers: train each person's own part first, as on a device.")
@click.option("--seed", default=0, show_default=True, help="Of candidates, negatives and resamples.")
@click.option("--plot", type=click.Path(path_type=Path), help="Save the differences as PNG or SVG. Needs [bench].")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def compare(
    a: Path, b: Path, ratings: Path | None, personalise: bool, seed: int, plot: Path | None, as_json: bool
) -> None:
    """Measure bundles A and B on the same rows or people; differences are B minus A."""
    if plot is not None and plot.suffix not in {".png", ".svg"}:
        raise click.UsageError("--plot takes a file ending in .png or .svg")
    import msgspec

    from models import compare as comparing
    from models.bundle import open_bundle

    found = comparing.compare(open_bundle(a), open_bundle(b), ratings, seed, personal=personalise)
    if plot is not None:
        from models.plot import save_plot

        save_plot(found, plot)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    click.echo(f"{found.protocol}\n\n{'n = ' + str(found.n):<22}{'A':>10}{'B':>10}{'B - A':>10}   95 % interval")
    for line in found.lines:
        verdict = f"{line.better.upper()} is better" if line.better else "no difference seen"
        d = line.difference
        numbers = f"{line.a:>10.4f}{line.b:>10.4f}{d.value:>+10.4f}   {d.low:+.4f} to {d.high:+.4f}"
        click.echo(f"{line.measure:<22}{numbers}   {verdict}")
    for letter, cost in zip("AB", found.costs, strict=True):
        click.echo(f"{letter}: {cost.name}, {cost.bytes:,} bytes, {cost.us_median:.0f} µs for {cost.rows} rows")
