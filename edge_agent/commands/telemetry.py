"""What other systems read of a running agent: `prometheus`, `otlp`, `traces`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click

from edge_agent.commands.options import state_option
from firmware_configs.cli_group import FiniteRange

beyond_option = click.option(
    "--beyond-this-machine",
    "beyond",
    is_flag=True,
    help="Allow an address that is not this machine's: what goes there is not in the ledger (docs/observability.md).",
)


@click.command()
@state_option
@click.option(
    "--textfile",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it to this file, whole or not at all: for node_exporter's textfile collector.",
)
@click.option("--listen", metavar="HOST:PORT", default="", help="Answer Prometheus here at /metrics, until stopped.")
@beyond_option
def prometheus(state_dir: Path, textfile: Path | None, listen: str, beyond: bool) -> None:
    """Tell a running agent's measures in Prometheus' text format: on stdout, to a file, or at a port.

    Each reading asks the agent; without one it tells `edgeward_up 0`, and says so on stderr. Every metric:
    docs/metrics.md. Needs the extra `web`.

    \b
    Examples:
      edge-agent prometheus --state-dir ./state
      edge-agent prometheus --textfile /var/lib/prometheus/node-exporter/edgeward.prom
      edge-agent prometheus --listen 127.0.0.1:9464
    """
    from firmware_configs.errors import UsageError

    with _extra("web"):
        from edge_agent.shell import exposition
    if textfile is not None and listen:
        raise UsageError("--textfile and --listen exclude each other", hint="give one of them")
    if listen:
        from edge_agent.shell.scraped import address, serve

        host, _ = address(listen)
        _stays_here(host, listen, beyond=beyond)
        serve(state_dir, listen, _aside)
    elif textfile is not None:
        try:
            exposition.write(state_dir, textfile, _aside)
        except OSError as error:
            raise UsageError(f"{textfile}: {error.strerror}", hint="name a file in a folder that exists") from None
    else:
        click.echo(exposition.text(state_dir, _aside), nl=False)


@click.command()
@click.argument("url")
@state_option
@click.option("--only", type=click.Choice(["metrics", "traces"]), help="Send these alone; without it: both.")
@click.option("--every", "every_s", default=15.0, show_default=True, type=FiniteRange(1.0, 3_600.0),
              help="Seconds between two readings of the metrics.")  # fmt: skip
@click.option("--once", is_flag=True, help="Send what there is now, and end.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="Certificate (PEM) to trust there instead.")
@beyond_option
def otlp(url: str, state_dir: Path, only: str | None, every_s: float, once: bool, ca: str | None, beyond: bool) -> None:
    """Send a running agent's metrics and traces to a collector at URL over OTLP/HTTP, until Ctrl-C.

    Metrics are those of `edge-agent prometheus` under the same names (docs/metrics.md), traces those of `edge-agent
    traces export`. What a collector does not take is tried again. Needs the extra `telemetry`.

    \b
    Examples:
      edge-agent otlp http://127.0.0.1:4318 --state-dir ./state
      edge-agent otlp http://127.0.0.1:4318 --only metrics --every 60
      edge-agent otlp https://collector.example:4318 --ca collector.pem --beyond-this-machine
    """
    from edge_agent.errors import AgentSilent

    _collector(url, beyond=beyond)
    with _extra("telemetry"):
        from edge_agent.shell.otlp import Both, follow
    both = Both(url, ca, metrics=only != "traces", traces=only != "metrics")
    if once:
        if (told := both.send(state_dir)) is None:
            raise AgentSilent(f"no agent answers in {state_dir}", hint="start it, or name its folder with --state-dir")
        click.echo(f"{told.metrics} metrics, {told.spans} spans")
        return
    with contextlib.suppress(KeyboardInterrupt):
        follow(state_dir, both, _aside, every_s)


@click.group()
def traces() -> None:
    """Traces of decisions, from the message that caused one to its feedback, for viewers of OpenTelemetry."""


@traces.command("export")
@state_option
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what the agent remembers as OTLP JSON: Jaeger's page opens it with `Upload`.",
)
@click.option("--otlp", metavar="URL", default="", help="Send it to a collector over OTLP/HTTP.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="Certificate (PEM) to trust there instead.")
@click.option("--follow", is_flag=True, help="With --otlp: go on and send what is new, until Ctrl-C.")
@beyond_option
def export(state_dir: Path, path: Path | None, otlp: str, ca: str | None, follow: bool, beyond: bool) -> None:
    """Ask the running agent for what it traced lately, and hand it on. Needs the extra `telemetry`.

    Traced is what came with a sampled `traceparent`, and of the rest the share `telemetry.trace_share` of agent.toml.
    The agent remembers a thousand decisions and outcomes, in memory.

    \b
    Examples:
      edge-agent traces export --file traces.json --state-dir ./state
      edge-agent traces export --otlp http://127.0.0.1:4318 --follow
    """
    from edge_agent.errors import AgentSilent
    from edge_agent.shell.facts import ask
    from firmware_configs.errors import UsageError

    if (path is None) == (not otlp) or (follow and not otlp):
        raise UsageError("traces go to one place", hint="give --file, or --otlp, which alone knows --follow")
    if otlp:
        _collector(otlp, beyond=beyond)
    with _extra("telemetry"):
        from edge_agent.shell import spans
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            spans.follow(state_dir, spans.Sender(otlp, ca), _aside)
        return
    if (facts := ask(state_dir)) is None:
        raise AgentSilent(f"no agent answers in {state_dir}", hint="start it, or name its folder with --state-dir")
    count = spans.write(facts, path) if path is not None else spans.Sender(otlp, ca).send(facts)
    click.echo(f"{count} spans of {len(facts.facts)} decisions and outcomes")


def _aside(text: str) -> None:
    """On stderr: what comes on stdout or at a port is for programs."""
    click.echo(text, err=True)


@contextlib.contextmanager
def _extra(name: str) -> Iterator[None]:
    """Imports of an extra's packages.

    Raises:
        UsageError: they are not there.
    """
    from firmware_configs.errors import UsageError

    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed", hint=f"pip install 'edgeward[{name}]'") from None


def _collector(url: str, *, beyond: bool) -> None:
    """Whether a collector may be sent what is told.

    Raises:
        UsageError: it is no address of one, or what is told would leave.
    """
    from firmware_configs.errors import UsageError

    try:
        where = urlsplit(url)
        known = where.scheme in {"http", "https"} and bool(where.hostname) and where.port != 0
    except ValueError:
        known = False
    if not known:
        raise UsageError(f"`{url}` is no address of a collector", hint="such as http://127.0.0.1:4318")
    _stays_here(where.hostname or "", url, beyond=beyond, secret=where.scheme == "https")


def _stays_here(host: str, given: str, *, beyond: bool, secret: bool = True) -> None:
    """Whether what is told stays on this machine, or somebody wants it otherwise.

    Raises:
        UsageError: it would leave.
    """
    from edge_agent.settings import LOOPBACK
    from firmware_configs.errors import UsageError

    if host in LOOPBACK:
        return
    if not beyond:
        raise UsageError(
            f"{given} is not on this machine, and no ledger enters what goes there",
            hint="use a collector or proxy on 127.0.0.1, or say --beyond-this-machine",
        )
    if not secret:
        raise UsageError(f"what is told to {host} would travel in the clear", hint="https://")
