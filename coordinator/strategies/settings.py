"""A strategy with its options, once they are acceptable."""

import math
from collections.abc import Mapping

from msgspec import Struct

from coordinator.errors import StrategyRefused
from coordinator.strategies.names import ALIASES, NAMES, PRESETS, PRIVATE, TREES, Name, Preset

WITHIN: dict[str, tuple[float, float]] = {
    "server_lr": (1e-12, 1e6),
    "momentum": (0.0, 0.999999),
    "beta_1": (0.0, 0.999999),
    "beta_2": (0.0, 0.999999),
    "tau": (1e-12, 1e6),
    "fade": (0.0, 1.0),
    "hostile_share": (0.0, 0.499999),
    "prox_mu": (0.0, 100.0),
    "q": (0.0, 100.0),
    "personal_epochs": (1.0, 100.0),
    "pull": (0.0, 100.0),
    "steps": (1.0, 10_000.0),
    "clusters": (2.0, 16.0),
    "spread": (0.0, 100.0),
}
"""Option → smallest and largest value."""
WHOLE = frozenset({"fade", "personal_epochs", "steps", "clusters"})


class Strategy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name and its options; made by `chosen`."""

    name: Name = "fedavg"
    options: dict[str, float] = {}
    """What is missing is as `names` says."""

    @property
    def preset(self) -> Preset:
        """What the name stands for."""
        return PRESETS[self.name]

    def __getitem__(self, option: str) -> float:
        return self.options.get(option, self.preset.options[option])


def chosen(asked: str, options: Mapping[str, float] | None = None) -> Strategy:
    """The strategy of this name with these options.

    Args:
        asked: a name, or Flower's class name in any case.
        options: what differs from what holds otherwise.
    Raises:
        StrategyRefused: there is none, it makes no sense for a parameter vector, or an option is not its own or is
            out of its range.
    """
    name = _name(asked)
    preset, given = PRESETS[name], dict(options or {})
    unknown = sorted(set(given) - set(preset.options))
    if unknown:
        raise StrategyRefused(
            f"`{name}` has no option {', '.join(f'`{one}`' for one in unknown)}",
            hint=f"it has {', '.join(f'{key} ({value:g})' for key, value in preset.options.items())}",
        )
    for key, value in given.items():
        least, most = WITHIN[key]
        if not math.isfinite(value) or not least <= value <= most or (key in WHOLE and value != int(value)):
            kind = "a whole number" if key in WHOLE else "a number"
            raise StrategyRefused(f"{key} = {value:g} is out of range", hint=f"{kind} from {least:g} to {most:g}")
    return Strategy(name=name, options={**preset.options, **given})


def _name(asked: str) -> Name:
    plain = asked.strip().lower()
    for name in NAMES:
        if plain == name:
            return name
    if plain in ALIASES:
        return ALIASES[plain]
    for wrapper, instead in PRIVATE.items():
        if plain == wrapper.lower():
            raise StrategyRefused(f"{wrapper} is no strategy here: privacy is a part of the round", hint=instead)
    if plain in (one.lower() for one in TREES):
        raise StrategyRefused(
            f"`{asked}` appends trees to a model; a bundle's parameters are tensors of fixed shapes",
            hint="train another bundle, or use Flower itself for XGBoost",
        )
    import difflib  # only the mistaken need it

    near = difflib.get_close_matches(plain, [*NAMES, *ALIASES], n=1, cutoff=0.6)
    raise StrategyRefused(
        f"there is no strategy `{asked}`",
        hint=f"did you mean `{near[0]}`?" if near else f"there are {', '.join(NAMES)}",
    )


def read_options(words: tuple[str, ...]) -> dict[str, float]:
    """`KEY=VALUE` words as options; `server-lr` is `server_lr`.

    Raises:
        StrategyRefused: a word is no such pair, or a key comes twice.
    """
    found: dict[str, float] = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip().replace("-", "_")
        try:
            value = float(text)
        except ValueError:
            equals = ""
            value = 0.0
        if not equals or key in found:
            raise StrategyRefused(f"`{word}` is no option", hint="KEY=VALUE with a number, each key once")
        found[key] = value
    return found
