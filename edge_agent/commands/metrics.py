"""`edge-agent metrics`: what decisions came to."""

from pathlib import Path

import click

from edge_agent.commands.options import json_option, show, state_option


@click.command()
@state_option
@json_option
def metrics(state_dir: Path, as_json: bool) -> None:
    """Tell the profile's metrics by placement, arm and segment, and the paths of its outcomes."""
    import msgspec

    from edge_agent.shell.access import check
    from edge_agent.shell.totals import in_words, read

    check(state_dir, "measure")
    shown = read(state_dir)
    show(msgspec.to_builtins(shown), "\n".join(in_words(shown)), as_json)
