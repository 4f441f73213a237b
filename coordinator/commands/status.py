"""`edge-coordinator status`."""

from pathlib import Path

import click

from coordinator.commands.options import existing_home_option, json_option, show


@click.command()
@existing_home_option
@json_option
def status(home: Path, as_json: bool) -> None:
    """Where everything is, and what each device runs."""
    import msgspec

    from coordinator.shell.home import endpoints_of
    from coordinator.shell.mqtt_control import Control
    from coordinator.shell.store import Store

    store, endpoints = Store(home), endpoints_of(home)
    names = {device.name for device in store.devices()}
    with Control(endpoints.broker, store) as control:
        control.wait_for(lambda told: names <= set(told), 2.0)
        told = control.reported()
    lines = [
        f"{name:<10} {getattr(endpoints, name)}" for name in endpoints.__struct_fields__ if getattr(endpoints, name)
    ]
    for name in sorted(names):
        word = told.get(name)
        runs = ", ".join(f"{n} {b.version} ({b.state})" for n, b in word.bundles.items()) if word else "silent"
        lines.append(f"{name:<24} {runs}")
    data = {
        "endpoints": msgspec.to_builtins(endpoints),
        "devices": {name: msgspec.to_builtins(told[name]) if name in told else None for name in sorted(names)},
    }
    show(data, "\n".join(lines), as_json)
