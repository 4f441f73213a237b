"""`edge-coordinator train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from coordinator.commands.options import home_option, json_option, show
from coordinator.commands.sums import grace_option
from coordinator.rule_names import RULES
from firmware_configs.cli_group import FiniteRange

if TYPE_CHECKING:
    from coordinator.shell.train import Outcome


def _options(_context: object, _parameter: object, words: tuple[str, ...]) -> dict[str, float]:
    from coordinator.strategies.settings import read_options

    return read_options(words)


@click.command()
@click.argument("bundle", default="")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="round.toml, which says all of this and can be kept; options given here override it. See docs/rounds.md.",
)
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1, 10_000), help="How many rounds.")
@click.option("--where", multiple=True, help="Only these devices: group:beta, tag:site=lab, profile:HASH; repeat.")
@click.option("--class", "classes", multiple=True, help="Only devices of this class of profile; repeat.")
@click.option(
    "--examples-min", default=1, show_default=True, type=click.IntRange(1), help="That a device must have, or it waits."
)
@click.option("--strategy", default="fedavg", show_default=True, help="A name of `edge-coordinator strategies`.")
@click.option("--option", "options", multiple=True, callback=_options, help="Of the strategy, KEY=VALUE; repeat.")
@click.option("--asynchronous", is_flag=True, help="Count reports as they come; ROUNDS are versions then.")
@click.option("--buffer", default=10, show_default=True, type=click.IntRange(1, 10_000), help="Reports of a version.")
@click.option("--staleness", default="poly:0.5", show_default=True, help="constant, poly:A or hinge:A,B.")
@click.option("--layer", "layers", multiple=True, help="PATTERN=FACTOR@FIRST-LAST: how far tensors move; repeat.")
@click.option("--prox-mu", default=0.01, show_default=True, help="FedProx: pull towards the round's start.")
@click.option(
    "--minimum-reports", default=1, show_default=True, type=click.IntRange(1), help="Fewer abandon the round."
)
@click.option(
    "--wanted", default=0, type=click.IntRange(0), help="Reports that are enough; 0: from all who are online."
)
@click.option("--over-selection", default=0.3, show_default=True, help="With --wanted: more to ask, a share.")
@click.option("--retries", default=0, show_default=True, type=click.IntRange(0, 100), help="Of a round that failed.")
@click.option("--back-off-s", default=5.0, show_default=True, help="Before the first retry; doubled each time.")
@click.option("--spread-s", type=float, help="Start window of the devices; default: 50 devices a second.")
@click.option(
    "--keep-reports/--no-keep-reports",
    default=True,
    show_default=True,
    help="Let a round's reports lie on disk until its result is there, so that a crash asks nobody again.",
)
@click.option(
    "--deploy/--no-deploy",
    default=True,
    show_default=True,
    help="Ask devices to run the result; without, it is published alone.",
)
@click.option("--rollout", default="", help="Ask them cohort by cohort, as this plan (rollout.toml) says.")
@click.option("--epochs", default=0, type=click.IntRange(0), help="Epochs on a device; default: the bundle's own.")
@click.option("--lr", default=0.0, type=FiniteRange(0.0, 1_000.0), help="Learning rate; default: the bundle's own.")
@click.option("--clip-norm", default=100.0, show_default=True, help="L2 norm of an update; profiles may demand less.")
@click.option("--join-s", default=30.0, show_default=True, help="Seconds to wait for enough devices.")
@click.option("--deadline-s", default=60.0, show_default=True, help="Seconds a round waits for reports.")
@click.option("--wait-s", default=60.0, show_default=True, help="Seconds to wait until devices run the result.")
@click.option("--seed", default=0, show_default=True)
@click.option("--rule", type=click.Choice(RULES), help="Combine updates so that hostile devices cannot move them far.")
@click.option("--hostile-share", default=0.2, show_default=True, help="With --rule: devices that may be hostile.")
@click.option("--epsilon-max", default=0.0, help="Differential privacy: the population's budget for this bundle.")
@click.option("--delta", default=1e-5, show_default=True, help="With --epsilon-max.")
@click.option(
    "--accountant",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "pld", "rdp"]),
    help="auto: pld, or rdp where the devices add the noise.",
)
@click.option(
    "--clip-quantile",
    default=0.0,
    type=FiniteRange(0.0, 1.0, max_open=True),
    help="With --epsilon-max: let the clipping norm follow this share of the updates, by a noised count; 0: fixed.",
)
@click.option("--clip-lr", default=0.2, show_default=True, help="With --clip-quantile: how fast the norm follows.")
@click.option("--count-noise", default=0.0, help="Of that count, in devices; default: expected reports / 20.")
@click.option("--noise", default=0.0, help="Noise multiplier; default: the least that the budget allows.")
@click.option("--rate", default=1.0, show_default=True, help="Probability with which a private round asks a device.")
@click.option("--top-k", default=0.0, type=FiniteRange(0.0, 1.0), help="Send the largest share of an update.")
@click.option(
    "--random-k",
    default=0.0,
    type=FiniteRange(0.0, 1.0),
    help="With --secret-sum: send this share of an update, drawn alike by all devices.",
)
@click.option(
    "--unlearn",
    is_flag=True,
    help="Take people who withdrew out of the model: ask for their last updates alone.",
)
@click.option("--secret-sum", is_flag=True, help="The coordinator sees the sum of the updates and no single one.")
@click.option("--secret-bits", default=20, show_default=True, type=click.IntRange(2, 24), help="With --secret-sum.")
@click.option("--vanish", default=0.25, show_default=True, help="With --secret-sum: share that may vanish in a round.")
@click.option(
    "--collude",
    default=0.0,
    show_default=True,
    type=FiniteRange(0.0, 1.0, max_open=True),
    help="With --secret-sum: share that may work with the coordinator.",
)
@grace_option
@click.option(
    "--noise-by",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "coordinator", "devices"]),
    help="auto: the devices under --secret-sum, so that no sum without noise exists.",
)
@click.option("--population", default="all", show_default=True, help="Whose budget is spent.")
@home_option
@json_option
def train(bundle: str, config: Path | None, home: Path, as_json: bool, **given: Any) -> None:
    """Run federated rounds of BUNDLE; publish, sign and deploy the result.

    Every enrolled device is asked to run it at once, unless --rollout or --no-deploy says otherwise.
    Exit code 1 when the run was abandoned: nothing is published then.
    """
    import msgspec

    from coordinator.shell import round_file
    from coordinator.shell.train import train as run

    asked = round_file.read(config) if config is not None else {}
    asked |= {name: value for name, value in given.items() if name not in asked or _is_given(name)}
    request = round_file.request_of(asked | ({"bundle": bundle} if bundle else {}))
    done = run(home, request, lambda line: click.echo(line, err=as_json))
    show(msgspec.to_builtins(done), told(done), as_json)


def _is_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT


def told(done: "Outcome") -> str:
    """What came out, as text."""
    if done.rollout:
        deployed = f"rollout {done.rollout} has begun: edge-coordinator rollout watch"
    elif not done.request.deploy:
        deployed = f"nobody is asked to run it: edge-coordinator deploy {done.bundle} {done.version}"
    else:
        deployed = f"{done.reported} of {done.devices} devices run it"
    return (
        f"{done.bundle} {done.parent} → {done.version} in {done.seconds:.1f} s; {deployed}\n"
        f"{sum(row.bytes_up for row in done.rounds):,} bytes up, {sum(row.bytes_down for row in done.rounds):,} down\n"
        f"{done.privacy}"
    )
