"""The strategy that a run is asked for, once it goes together with everything else that is asked for."""

from coordinator.errors import RoundFileInvalid, StrategyRefused
from coordinator.shell.private_run import refuse_without_budget
from coordinator.shell.request import Request, refuse_compression
from coordinator.shell.round_file import place_of
from coordinator.strategies.asynchronous import Asynchronous, read_staleness
from coordinator.strategies.layers import read_layer
from coordinator.strategies.settings import Strategy, chosen


def refuse_contradictions(request: Request) -> None:
    """Refuse what no coordinator and no fleet could make good, before either is looked for.

    Raises:
        RoundFileInvalid: a round would stop before it has the reports that it needs, or nobody is to run a result that
            is rolled out.
        StrategyRefused, BudgetInvalid, RoundError: options do not go together.
    """
    if 0 < request.wanted < request.minimum_reports:
        raise RoundFileInvalid(
            f"{place_of('wanted')} = {request.wanted} is less than {place_of('minimum_reports')} ="
            f" {request.minimum_reports}: a round that stops at {request.wanted} reports never has so many",
            hint=f"--wanted {request.minimum_reports} or more (0: from all who are online), or fewer --minimum-reports",
        )
    if request.rollout and not request.deploy:
        raise RoundFileInvalid(
            f"{place_of('rollout')} says who runs the result when, and {place_of('deploy')} that nobody does",
            hint="leave out --rollout or --no-deploy",
        )
    strategy_of(request)
    refuse_compression(request)
    refuse_without_budget(request)


def strategy_of(request: Request) -> Strategy:
    """The strategy with its options.

    Raises:
        StrategyRefused: there is none of this name, or it cannot go with what else is asked for.
    """
    options = dict(request.options)
    named = chosen(request.strategy)
    for option, value in (("prox_mu", request.prox_mu), ("hostile_share", request.hostile_share)):
        if option in named.preset.options:
            options.setdefault(option, value)
    strategy = chosen(request.strategy, options)
    looks = f"--rule {request.rule}" if request.rule else f"`{strategy.name}`" if strategy.preset.single else ""
    if looks and request.secret_sum:
        raise StrategyRefused(
            f"a secret sum has no single updates for {looks}", hint="use one of the two: the coordinator sees a sum"
        )
    if looks and request.epsilon_max:
        raise StrategyRefused(
            f"{looks} looks at single reports, which a private round's account does not cover",
            hint="a private round clips each device and adds noise to the sum: choose a strategy of means",
        )
    if request.random_k and strategy.preset.device == "scaffold":
        raise StrategyRefused(
            "a control variate is made of the whole update, --random-k sends a part", hint="leave one of them out"
        )
    if request.rule and strategy.preset.rule != "mean":
        raise StrategyRefused(
            f"--rule {request.rule} and `{strategy.name}` both say how updates become one",
            hint="name the strategy alone, or --rule with one of means such as fedadam",
        )
    if request.asynchronous:
        _refuse_in_common(request, strategy)
    if request.unlearn:
        _refuse_for_last_updates(request, strategy)
    for word in request.layers:
        read_layer(word)
    return strategy


def asynchronous_of(request: Request, devices: int) -> Asynchronous | None:
    """How the run goes on without common rounds; None: it has them.

    Args:
        devices: enrolled.
    Raises:
        StrategyRefused: the buffer can never fill: a device has one say in a version.
    """
    if not request.asynchronous:
        return None
    if request.buffer > devices:
        raise StrategyRefused(
            f"a buffer of {request.buffer} never fills with {devices} devices, each with one say in a version",
            hint=f"--buffer {max(1, devices // 2)}",
        )
    return Asynchronous(buffer=request.buffer, staleness=read_staleness(request.staleness))


def _refuse_in_common(request: Request, strategy: Strategy) -> None:
    """What needs a round's devices together goes with no asynchronous run."""
    read_staleness(request.staleness)
    reasons = {
        "a secret sum": (request.secret_sum, "its members must be online together"),
        "a privacy budget": (
            request.epsilon_max > 0.0,
            "who is in a buffer is decided by who comes, not by a coin of known rate: the account would be wrong",
        ),
        "--rule": (request.rule is not None, "a stale update is far from the others for an honest reason"),
        f"`{strategy.name}`": (
            strategy.preset.single or strategy.preset.device == "scaffold",
            "it compares or corrects reports that started from the same parameters",
        ),
    }
    for what, (asked, why) in reasons.items():
        if asked:
            raise StrategyRefused(f"{what} does not go with --asynchronous: {why}", hint="leave one of them out")


def _refuse_for_last_updates(request: Request, strategy: Strategy) -> None:
    """Last updates are added up as they are, once: each takes out its own part, whatever the others say."""
    reasons = {
        "--rule": request.rule is not None,
        "--epsilon-max": request.epsilon_max > 0.0,
        "--asynchronous": request.asynchronous,
        "--rounds above 1": request.rounds > 1,
        "--top-k or --random-k": bool(request.top_k or request.random_k),
        "--layer": bool(request.layers),
        f"`{strategy.name}`": strategy.preset != chosen("fedavg").preset,
    }
    for what, asked in reasons.items():
        if asked:
            raise StrategyRefused(
                f"{what} does not go with --unlearn: last updates are added up whole, once, and nothing else is done",
                hint="leave it out; --secret-sum is possible",
            )
