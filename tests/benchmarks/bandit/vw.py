"""Vowpal Wabbit's side: `--cb_explore_adf --squarecb` with one weight a feature and action (`-q sa`).

Its grid is its documented defaults (gamma_scale 10, learning rate 0.5), more of both, and whether shared features also
count by themselves, which helps it (`--ignore_linear`). Costs are minus the reward, as in its tutorials.
"""

from collections.abc import Callable, Iterator

import numpy as np

from tests.benchmarks.bandit.sides import F64, Setting

BASE = "--cb_explore_adf --squarecb -q sa --quiet"
GAMMA_SCALES = (10, 100, 1_000)
LEARNING_RATES = (0.5, 2, 10)
LINEAR = ("", " --ignore_linear s")


class VowpalWabbit:
    """One workspace. An example's text is made outside of what is timed, and parsed inside: VW reads text."""

    def __init__(self, arguments: str, actions: int) -> None:
        import vowpalwabbit

        self._workspace = vowpalwabbit.Workspace(f"{BASE} {arguments}")
        self._actions = [f"|a a{n}" for n in range(actions)]

    def prepare(self, x: F64) -> str:
        """The shared line of an example; zeros are left out, as VW does."""
        return "shared |s " + " ".join([f"f{n}:{value:.6g}" for n, value in enumerate(x.tolist()) if value])

    def distribution(self, context: str) -> F64:
        """See `Learner`."""
        found = np.array(self._workspace.predict([context, *self._actions]), np.float64)
        return np.asarray(found / found.sum(), np.float64)  # float32 on its side: off by 1e-7

    def learn(self, context: str, action: int, reward: float, probability: float) -> None:
        """See `Learner`."""
        lines = [context, *self._actions]
        lines[1 + action] = f"0:{-reward:g}:{probability:.9g} {lines[1 + action]}"
        self._workspace.learn(lines)


def grid() -> Iterator[Setting]:
    """18 settings; the first is VW's defaults."""
    for linear in LINEAR:
        for scale in GAMMA_SCALES:
            for rate in LEARNING_RATES:
                arguments = f"--gamma_scale {scale} -l {rate}{linear}"
                yield Setting(name=arguments, family="squarecb", make=_making(arguments))


def _making(arguments: str) -> Callable[[int, int], VowpalWabbit]:
    return lambda actions, _columns: VowpalWabbit(arguments, actions)
