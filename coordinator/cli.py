"""`edge-coordinator`: federated rounds, signed registry, rollout."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.commands.accountant import accountant
from coordinator.commands.attribution import attribution
from coordinator.commands.experiments import experiments
from coordinator.commands.options import home_option, json_option, show
from coordinator.rule_names import RULES
from firmware_configs.cli_group import EdgeGroup

if TYPE_CHECKING:
    from coordinator.shell.train import Outcome


@click.group(
    "edge-coordinator",
    cls=EdgeGroup,
    examples="""
    edge-coordinator up
    edge-coordinator nodes enrol home-1 --public-key node.pub
    edge-coordinator registry publish affinity-1.0.0.edgeward
    edge-coordinator deploy affinity 1.0.0
    edge-coordinator train affinity --rounds 2
    """,
)
def main() -> None:
    """Federated rounds on Flower, a signed registry of bundles, and what every device should run."""


main.add_command(accountant)
main.add_command(experiments)
main.add_command(attribution)


@main.command()
@home_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--name", "names", multiple=True, help="DNS name or address under which devices reach this machine; repeat."
)
@click.option("--broker", default="", help="mqtt://HOST:PORT of a broker of your own; default: an embedded one.")
@click.option("--broker-port", default=0, type=click.IntRange(0, 65_535), help="Embedded broker's port; 0: any.")
@click.option("--port", default=0, type=click.IntRange(0, 65_535), help="HTTPS port of registry and rounds; 0: any.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written when everything answers.")
def up(
    home: Path,
    host: str,
    names: Sequence[str],
    broker: str,
    broker_port: int,
    port: int,
    ready_file: Path | None,
) -> None:
    """Start broker, SuperLink (TLS, node authentication) and registry, and keep them running."""
    from coordinator.shell import pki
    from coordinator.shell.up import ANY, Options
    from coordinator.shell.up import up as run

    listed = [host] if host not in ANY else []
    options = Options(
        home=home,
        host=host,
        reach=(*names, *listed, pki.LOCAL[1])[0],
        names=tuple(dict.fromkeys((*pki.LOCAL, *names, *listed))),
        broker=broker,
        broker_port=broker_port,
        port=port,
        ready_file=ready_file,
    )
    run(options, click.echo)


@main.group()
def nodes() -> None:
    """Devices that may take part."""


@nodes.command("enrol")
@click.argument("device")
@click.option("--public-key", required=True, type=click.Path(path_type=Path), help="node.pub of `edge-agent keys new`.")
@home_option
@json_option
def enrol(device: str, public_key: Path, home: Path, as_json: bool) -> None:
    """Enrol DEVICE with its public key."""
    from coordinator.shell.enrol import enrol as run

    done = run(home, device, public_key)
    show({"device": done.name, "node": str(done.node)}, f"enrolled {done.name} as node {done.node}", as_json)


@nodes.command("revoke")
@click.argument("device")
@home_option
@json_option
def revoke(device: str, home: Path, as_json: bool) -> None:
    """Refuse DEVICE from now on."""
    from coordinator.shell.enrol import revoke as run

    done = run(home, device)
    show({"device": done.name, "revoked": True}, f"revoked {done.name}", as_json)


@nodes.command("ls")
@home_option
@json_option
def list_nodes(home: Path, as_json: bool) -> None:
    """List enrolled devices."""
    from coordinator.shell.store import Store

    found = Store(home).devices(revoked=True)
    rows = [{"device": d.name, "node": str(d.node), "revoked": d.revoked} for d in found]
    lines = [f"{d.name:<24} {d.node:>20}{'  revoked' if d.revoked else ''}" for d in found]
    show(rows, "\n".join(lines) or "no device is enrolled", as_json)


@main.group()
def registry() -> None:
    """The signed registry of bundles."""


@registry.command("publish")
@click.argument("path", type=click.Path(path_type=Path))
@home_option
@json_option
def publish(path: Path, home: Path, as_json: bool) -> None:
    """Sign the bundle at PATH into the registry."""
    from coordinator.shell.train import publish as run

    done = run(home, path)
    show(
        {"bundle": done.bundle, "version": done.version, "bytes": done.bytes, "sha256": done.sha256},
        f"published {done.bundle} {done.version} ({done.bytes:,} bytes)",
        as_json,
    )


@registry.command("ls")
@home_option
@json_option
def list_registry(home: Path, as_json: bool) -> None:
    """List published bundles."""
    from coordinator.shell.registry_store import Registry

    found = Registry.existing(home).published()
    rows = [{"bundle": t.bundle, "version": t.version, "bytes": t.bytes, "sha256": t.sha256} for t in found]
    lines = [f"{t.bundle:<20} {t.version:<12} {t.bytes:>12,}  {t.sha256[:16]}…" for t in found]
    show(rows, "\n".join(lines) or "nothing is published", as_json)


@registry.command("root")
@home_option
def root(home: Path) -> None:
    """Print the trusted root that devices are given (registry.trusted_root in agent.toml)."""
    from coordinator.shell.registry_store import Registry

    click.echo(Registry.existing(home).root_path.read_text())


@main.command()
@click.argument("bundle")
@click.argument("version")
@click.option("--device", "devices", multiple=True, help="Only this device; repeat. Default: all.")
@home_option
@json_option
def deploy(bundle: str, version: str, devices: Sequence[str], home: Path, as_json: bool) -> None:
    """Ask devices to run VERSION of BUNDLE, which must be published."""
    from coordinator.shell.train import deploy as run

    asked = run(home, bundle, version, list(devices) or None)
    show({"bundle": bundle, "version": version, "devices": asked}, f"asked {len(asked)} devices", as_json)


@main.command()
@click.argument("bundle")
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1, 10_000), help="How many rounds.")
@click.option("--strategy", default="fedavg", show_default=True, type=click.Choice(["fedavg", "fedprox"]))
@click.option("--prox-mu", default=0.01, show_default=True, help="FedProx: pull towards the round's start.")
@click.option(
    "--minimum-reports", default=1, show_default=True, type=click.IntRange(1), help="Fewer abandon the round."
)
@click.option(
    "--wanted", default=0, type=click.IntRange(0), help="Reports that are enough; 0: from all who are online."
)
@click.option("--epochs", default=0, type=click.IntRange(0), help="Epochs on a device; default: the bundle's own.")
@click.option("--lr", default=0.0, help="Learning rate; default: the bundle's own.")
@click.option("--clip-norm", default=100.0, show_default=True, help="L2 norm of an update; profiles may demand less.")
@click.option("--join-s", default=30.0, show_default=True, help="Seconds to wait for enough devices.")
@click.option("--deadline-s", default=60.0, show_default=True, help="Seconds a round waits for reports.")
@click.option("--wait-s", default=60.0, show_default=True, help="Seconds to wait until devices run the result.")
@click.option("--seed", default=0, show_default=True)
@click.option("--rule", type=click.Choice(RULES), help="Combine updates so that hostile devices cannot move them far.")
@click.option("--hostile-share", default=0.2, show_default=True, help="With --rule: devices that may be hostile.")
@click.option("--epsilon-max", default=0.0, help="Differential privacy: the population's budget for this bundle.")
@click.option("--delta", default=1e-5, show_default=True, help="With --epsilon-max.")
@click.option("--accountant", default="pld", show_default=True, type=click.Choice(["pld", "rdp"]))
@click.option("--noise", default=0.0, help="Noise multiplier; default: the least that the budget allows.")
@click.option("--rate", default=1.0, show_default=True, help="Probability with which a private round asks a device.")
@click.option("--secret-sum", is_flag=True, help="The coordinator sees the sum of the updates and no single one.")
@click.option("--secret-bits", default=20, show_default=True, type=click.IntRange(2, 24), help="With --secret-sum.")
@click.option("--population", default="all", show_default=True, help="Whose budget is spent.")
@home_option
@json_option
def train(bundle: str, home: Path, as_json: bool, **given: Any) -> None:
    """Run federated rounds of BUNDLE; publish, sign and deploy the result.

    Exit code 1 when the run was abandoned: nothing is published then.
    """
    import msgspec

    from coordinator.shell.train import Request
    from coordinator.shell.train import train as run

    done = run(home, Request(bundle=bundle, **given), lambda line: click.echo(line, err=as_json))
    show(msgspec.to_builtins(done), _told(done), as_json)


def _told(done: "Outcome") -> str:
    return (
        f"{done.bundle} {done.parent} → {done.version} in {done.seconds:.1f} s; "
        f"{done.reported} of {done.devices} devices run it\n{done.privacy}"
    )


@main.group()
def rounds() -> None:
    """Runs and their rounds."""


@rounds.command("ls")
@home_option
@json_option
def list_rounds(home: Path, as_json: bool) -> None:
    """List runs with their rounds, newest first."""
    from coordinator.shell.train import rounds_table

    found = rounds_table(home)
    lines = []
    for run in found:
        state = run["failure"] or (f"→ {run['result']}" if run["result"] else "running")
        lines.append(f"{run['key']}  {run['bundle']} {run['version']} {state}")
        lines += [
            f"  round {r['round']:<4} {r['state']:<10} {r['reports']}/{r['asked']} reports"
            f"  loss {r['loss_before']:.4f} → {r['loss_after']:.4f}  {r['seconds']:.1f} s"
            for r in run["rounds"]
        ]
    show(found, "\n".join(lines) or "no run yet", as_json)


@main.command()
@home_option
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
    lines = [f"{name:<10} {getattr(endpoints, name)}" for name in endpoints.__struct_fields__]
    for name in sorted(names):
        word = told.get(name)
        runs = ", ".join(f"{n} {b.version} ({b.state})" for n, b in word.bundles.items()) if word else "silent"
        lines.append(f"{name:<24} {runs}")
    data = {
        "endpoints": msgspec.to_builtins(endpoints),
        "devices": {name: msgspec.to_builtins(told[name]) if name in told else None for name in sorted(names)},
    }
    show(data, "\n".join(lines), as_json)


if __name__ == "__main__":
    main()
