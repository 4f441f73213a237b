"""The strategy that a run is asked for, once it goes together with everything else that is asked for."""

from coordinator.errors import StrategyRefused
from coordinator.shell.request import Request
from coordinator.strategies.layers import read_layer
from coordinator.strategies.settings import Strategy, chosen


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
    if request.rule and strategy.preset.rule != "mean":
        raise StrategyRefused(
            f"--rule {request.rule} and `{strategy.name}` both say how updates become one",
            hint="name the strategy alone, or --rule with one of means such as fedadam",
        )
    for word in request.layers:
        read_layer(word)
    return strategy
