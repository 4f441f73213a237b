"""`edge-coordinator strategies`."""

import click

from coordinator.commands.options import json_option, show


@click.command()
@json_option
def strategies(as_json: bool) -> None:
    """List the strategies that `train --strategy` knows, with their options, and Flower's class of each."""
    import msgspec

    from coordinator.strategies.names import PRESETS

    lines = [
        f"{name:<14} {preset.flower or '-':<14} {' '.join(f'{key}={value:g}' for key, value in preset.options.items())}"
        for name, preset in PRESETS.items()
    ]
    data = {name: msgspec.to_builtins(preset) for name, preset in PRESETS.items()}
    show(data, "\n".join([f"{'name':<14} {'Flower':<14} options", *lines]), as_json)
