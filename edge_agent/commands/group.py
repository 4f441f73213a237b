"""All commands of `edge-agent`, as click reads them."""

import click

from edge_agent.commands.access import access
from edge_agent.commands.books import ledger
from edge_agent.commands.bundles import bundles
from edge_agent.commands.consent import consent
from edge_agent.commands.daemon import check, run
from edge_agent.commands.device import doctor, keys
from edge_agent.commands.enrolment import enrol
from edge_agent.commands.evaluation import evaluate
from edge_agent.commands.inspection import experiments, explain, replay, status
from edge_agent.commands.metrics import metrics
from edge_agent.commands.people import people
from edge_agent.commands.rules import rules
from edge_agent.commands.service import install_service, uninstall_service
from edge_agent.commands.subject import subject
from edge_agent.commands.telemetry import otlp, prometheus, traces
from edge_agent.commands.web import web
from firmware_configs.cli_group import EdgeGroup


@click.group(
    "edge-agent",
    cls=EdgeGroup,
    examples="""
    edge-agent check firmware_configs/profiles/home-gateway.toml
    edge-agent enrol https://10.0.0.2:8443 edgeward1.AbC… --settings agent.toml
    edge-agent keys new --state-dir ./state
    edge-agent keys renew --settings agent.toml
    edge-agent run --settings agent.toml
    edge-agent status --state-dir ./state
    edge-agent doctor --settings agent.toml
    edge-agent explain 3f2a91 --state-dir ./state
    edge-agent evaluate --placement shelf --since 7d --state-dir ./state
    edge-agent rules test profile.toml --cases cases.toml
    edge-agent metrics --state-dir ./state
    edge-agent prometheus --listen 127.0.0.1:9464 --state-dir ./state
    edge-agent otlp http://127.0.0.1:4318 --state-dir ./state
    edge-agent traces export --file traces.json --state-dir ./state
    edge-agent bundles ls --state-dir ./state
    edge-agent people ls --settings agent.toml
    edge-agent consent withdraw anna personalise --settings agent.toml
    edge-agent subject show anna --state-dir ./state
    edge-agent web link anna --settings agent.toml
    edge-agent subject erase anna --settings agent.toml --out receipt.json
    edge-agent access log --state-dir ./state
    EDGE_AGENT_BROKER__URL=mqtt://10.0.0.2:1883 edge-agent run
    """,
)
def main() -> None:
    """Decide where the events are: MQTT in, decisions out, learning in place."""


_COMMANDS = (
    run,
    check,
    status,
    doctor,
    explain,
    evaluate,
    metrics,
    prometheus,
    otlp,
    traces,
    replay,
    ledger,
    experiments,
    rules,
    bundles,
    people,
    subject,
    consent,
    web,
    access,
    enrol,
    keys,
    install_service,
    uninstall_service,
)

for _command in _COMMANDS:
    main.add_command(_command)
