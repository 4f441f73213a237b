"""`edge-models`: build, inspect, check, list and export bundles."""

import click

from firmware_configs.cli_group import EdgeGroup
from models.commands import bench, build, check, cohort, compare, export, inspect, quantise, train

EXAMPLES = """
edge-models ls
edge-models build context
edge-models build affinity --ratings ratings.csv --exclude-users 7,42 --out affinity-1.0.0.edgeward
edge-models inspect affinity-1.0.0.edgeward
edge-models check --backend both context-1.0.0.edgeward
edge-models quantise --int8 affinity-1.0.0.edgeward --out affinity-int8.edgeward
edge-models export --all
edge-models bench ml-100k --ratings ratings.csv
edge-models train context.toml
edge-models cohort fit --ratings ratings.csv --out people.cohort
edge-models compare old.edgeward new.edgeward --ratings ratings.csv --plot difference.png
"""


@click.group(cls=EdgeGroup, name="edge-models", examples=EXAMPLES)
def main() -> None:
    """Build and judge model bundles: one file that predicts, learns, and says what it needs."""


for command in (
    bench.bench,
    build.build,
    inspect.inspect,
    check.check,
    cohort.cohort,
    compare.compare,
    export.export,
    inspect.list_bundles,
    quantise.quantise,
    train.train,
):
    main.add_command(command)
