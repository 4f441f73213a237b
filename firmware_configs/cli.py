"""`edge-audit`: for people who must be able to prove what a device does. No Python needed."""

import click

from firmware_configs.cli_group import EdgeGroup
from firmware_configs.commands.capture import capture
from firmware_configs.commands.check import check
from firmware_configs.commands.diff import diff
from firmware_configs.commands.erasure import erasure
from firmware_configs.commands.ledger import ledger
from firmware_configs.commands.lineage import lineage, why
from firmware_configs.commands.looks import looks
from firmware_configs.commands.minimise import minimise
from firmware_configs.commands.rules import rules, show
from firmware_configs.commands.write import write


@click.group(
    "edge-audit",
    cls=EdgeGroup,
    examples="""
    edge-audit show firmware_configs/profiles/home-gateway.toml
    edge-audit check firmware_configs/profiles
    edge-audit check NEW.toml --against OLD.toml --format sarif --out audit.sarif
    edge-audit diff OLD.toml NEW.toml --fail-on widen
    edge-audit lineage firmware_configs/profiles/home-gateway.toml --format html --out lineage.html
    edge-audit write notice firmware_configs/profiles/home-gateway.toml --out notice.html
    edge-audit minimise firmware_configs/profiles/home-gateway.toml --data readings.csv --loss 0.5 --out smaller.toml
    edge-audit ledger verify home-1.ledger --key home-1.pub
    edge-audit looks looks.log
    edge-audit erasure receipt.json --key home-1.pub --subject anna
    edge-audit why co2 firmware_configs/profiles/home-gateway.toml
    edge-audit capture demo/pages/profile.toml --device shop-1
    edge-audit rules DM001
    """,
)
def main() -> None:
    """Read device profiles: what is collected, why, for how long, what is decided, and what may leave."""


for command in (capture, check, diff, lineage, why, show, write, minimise, ledger, looks, erasure, rules):
    main.add_command(command)


if __name__ == "__main__":
    main()
