"""The strategies by name, apart from what they compute: a command line needs them without numpy.

A strategy is a choice on three axes: what many updates become one by (`rule`), how the server moves along that one
(`optimiser`), and what a device does beside plain training (`device`). Names are Flower's class names in lower case;
those that Flower lacks are named as their papers name them.
"""

from typing import Literal, get_args

from msgspec import Struct

from coordinator.rule_names import Rule

Name = Literal[
    "fedavg",
    "fedprox",
    "fedavgm",
    "fedadagrad",
    "fedadam",
    "fedyogi",
    "adam",
    "fedmedian",
    "fedtrimmedavg",
    "krum",
    "multikrum",
    "bulyan",
    "norm-median",
    "qfedavg",
    "fedrep",
    "ditto",
    "scaffold",
    "ifca",
]
NAMES: tuple[Name, ...] = get_args(Name)
Optimiser = Literal["add", "momentum", "adagrad", "adam", "yogi"]
Device = Literal["plain", "prox", "alternate", "ditto", "scaffold", "ifca"]


class Preset(Struct, frozen=True, kw_only=True):
    """What a name stands for."""

    flower: str = ""
    """Flower's class of the same arithmetic; empty: Flower has none."""
    rule: Rule | Literal["mean", "fair", "clusters"] = "mean"
    """mean: weighted by bucketed example counts. fair: q-FedAvg. clusters: one mean a cluster."""
    optimiser: Optimiser = "add"
    device: Device = "plain"
    options: dict[str, float] = {}
    """What may be set, with what holds otherwise."""
    single: bool = False
    """Whether it looks at single reports: then there is no secret sum of them, and no private round."""


_FLOWER_OPT = {"server_lr": 0.1, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3}
_HOSTILE = {"server_lr": 1.0, "hostile_share": 0.2}
PRESETS: dict[Name, Preset] = {
    "fedavg": Preset(flower="FedAvg", options={"server_lr": 1.0}),
    "fedprox": Preset(flower="FedProx", device="prox", options={"server_lr": 1.0, "prox_mu": 0.01}),
    "fedavgm": Preset(flower="FedAvgM", optimiser="momentum", options={"server_lr": 1.0, "momentum": 0.9}),
    "fedadagrad": Preset(flower="FedAdagrad", optimiser="adagrad", options={"server_lr": 0.1, "tau": 1e-3}),
    "fedadam": Preset(flower="FedAdam", optimiser="adam", options=_FLOWER_OPT),
    "fedyogi": Preset(flower="FedYogi", optimiser="yogi", options={**_FLOWER_OPT, "server_lr": 0.01}),
    "adam": Preset(
        optimiser="adam",
        options={"server_lr": 0.01, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-8, "fade": 1.0},
    ),
    "fedmedian": Preset(flower="FedMedian", rule="median", options=_HOSTILE, single=True),
    "fedtrimmedavg": Preset(flower="FedTrimmedAvg", rule="trimmed", options=_HOSTILE, single=True),
    "krum": Preset(flower="Krum", rule="krum", options=_HOSTILE, single=True),
    "multikrum": Preset(flower="MultiKrum", rule="multi-krum", options=_HOSTILE, single=True),
    "bulyan": Preset(flower="Bulyan", rule="bulyan", options=_HOSTILE, single=True),
    "norm-median": Preset(rule="norm-median", options=_HOSTILE, single=True),
    "qfedavg": Preset(flower="QFedAvg", rule="fair", options={"server_lr": 1.0, "q": 0.1}, single=True),
    "fedrep": Preset(device="alternate", options={"server_lr": 1.0, "personal_epochs": 1.0}),
    "ditto": Preset(device="ditto", options={"server_lr": 1.0, "pull": 0.1}),
    "scaffold": Preset(device="scaffold", options={"server_lr": 1.0, "steps": 10.0}),
    "ifca": Preset(rule="clusters", device="ifca", options={"clusters": 2.0, "spread": 0.1}, single=True),
}
ALIASES: dict[str, Name] = {"multi-krum": "multikrum", "median": "fedmedian", "trimmed": "fedtrimmedavg"}
_FIXED = "--strategy fedavg --epsilon-max E --clip-norm C"
_ADAPTIVE = f"{_FIXED} --clip-quantile 0.5"
PRIVATE = {
    "DifferentialPrivacyServerSideFixedClipping": _FIXED,
    "DifferentialPrivacyClientSideFixedClipping": _FIXED,
    "DifferentialPrivacyServerSideAdaptiveClipping": _ADAPTIVE,
    "DifferentialPrivacyClientSideAdaptiveClipping": _ADAPTIVE,
}
"""Flower's wrappers: here privacy is a part of the round, with its budget, and any strategy of sums goes with it."""
TREES = ("FedXgbBagging", "FedXgbCyclic")
"""They append trees to a model. A bundle's parameters are tensors of fixed shapes: nothing can be appended."""
