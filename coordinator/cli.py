"""`edge-coordinator`: federated rounds, signed registry, rollout."""

import click

from coordinator.commands.accountant import accountant
from coordinator.commands.attribution import attribution
from coordinator.commands.backup import backup, restore
from coordinator.commands.bandit import bandit
from coordinator.commands.bias import bias
from coordinator.commands.business import business
from coordinator.commands.capacity import capacity
from coordinator.commands.cohort import cohort
from coordinator.commands.dashboard import dashboard
from coordinator.commands.deploy import deploy
from coordinator.commands.drift import drift
from coordinator.commands.evaluation import evaluate
from coordinator.commands.experiments import experiments
from coordinator.commands.fleet import fleet
from coordinator.commands.lineage import lineage
from coordinator.commands.listen import listen
from coordinator.commands.nodes import nodes
from coordinator.commands.registry import registry
from coordinator.commands.rollout import rollout
from coordinator.commands.rounds import rounds
from coordinator.commands.service import install_service, uninstall_service
from coordinator.commands.simulate import simulate
from coordinator.commands.status import status
from coordinator.commands.strategies import strategies
from coordinator.commands.training import train
from coordinator.commands.up import up
from coordinator.commands.watch import watch
from firmware_configs.cli_group import EdgeGroup


@click.group(
    "edge-coordinator",
    cls=EdgeGroup,
    examples="""
    edge-coordinator up
    edge-coordinator nodes invite
    edge-coordinator nodes enrol home-1 --public-key node.pub
    edge-coordinator fleet ls --where tag:site=lab
    edge-coordinator fleet doctor
    edge-coordinator registry publish affinity-1.0.0.edgeward
    edge-coordinator deploy affinity 1.0.0
    edge-coordinator lineage affinity
    edge-coordinator rollout start rollout.toml
    edge-coordinator simulate --plan simulation.toml --devices 1000
    edge-coordinator train affinity --rounds 2
    edge-coordinator watch
    edge-coordinator business release shop.toml
    edge-coordinator dashboard
    edge-coordinator backup /mnt/backup/2026-11-29
    edge-coordinator capacity --devices 1e6
    """,
)
def main() -> None:
    """Federated rounds on Flower, a signed registry of bundles, and what every device should run."""


for command in (
    up,
    nodes,
    fleet,
    registry,
    lineage,
    deploy,
    rollout,
    simulate,
    train,
    strategies,
    cohort,
    rounds,
    watch,
    accountant,
    evaluate,
    bandit,
    bias,
    drift,
    business,
    experiments,
    attribution,
    status,
    dashboard,
    listen,
    backup,
    restore,
    capacity,
    install_service,
    uninstall_service,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
