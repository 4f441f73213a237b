"""`affinity-recent` on MovieLens 100K, federated, with a server that may see, change or refuse single updates.

One trial for the benchmarks that ask what protection costs: `bytes`, `private`, `poison`. The protocol is that of
`edge-models bench ml-100k`: the last item of each person among 99 that it never touched, HR@10 in percent.
"""

import sys
from pathlib import Path

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from models import federated, federated_affinity, splits
from models.bench.ml_100k import measure, summary
from models.datasets import find, read_ratings
from models.federated import Combine, Plan, Server
from models.splits import Question
from models.zoo.affinity_recent import FACTORS, PLAN

F32 = NDArray[np.float32]
RATINGS = "ml-100k/ratings.dat"


class Trial(Struct, frozen=True):
    """The data, read once."""

    question: Question
    items: int
    plan: Plan

    def hr10(
        self, combine: Combine | None, plan: Plan | None = None, *, name: str = "", server: Server | None = None
    ) -> float:
        """HR@10 in percent after one training with this server."""
        scores = self.scores(combine, plan, name=name, server=server)
        found = measure(scores, self.question, self.items, (plan or self.plan).seed)
        return summary("", "ours", [found]).hr10

    def scores(
        self, combine: Combine | None, plan: Plan | None = None, *, name: str = "", server: Server | None = None
    ) -> F32:
        """Every person's scores (clients, items) after one training."""
        chosen = plan or self.plan

        def tell(number: int, rounds: int, loss: float) -> None:
            if name and number % max(1, rounds // 5) == 0:
                print(f"{name}: round {number} of {rounds}, loss {loss:.4f}", file=sys.stderr)

        start = federated.start(self.items, chosen)
        shared, own = federated.train(
            self.question.histories, self.items, chosen, start, FACTORS, tell, combine, server
        )
        return federated_affinity.scores(shared, own, self.question.histories)


def trial(ratings: Path | None, seed: int, participations: int = 0, *, validation: bool = False) -> Trial:
    """The trial on MovieLens 100K, or on the file that is given; `validation` asks for the last but one item.

    Raises:
        SystemExit: it is not there.
    """
    path = ratings or find(RATINGS)
    if path is None:
        raise SystemExit(f"{RATINGS} was not found: give --ratings FILE, or set EDGEWARD_DATA")
    data = splits.interactions(read_ratings(path))
    plan = replace(PLAN, seed=seed, participations=participations or PLAN.participations)
    return Trial(splits.leave_one_out(data, back=2 if validation else 1), len(data.catalogue), plan)


def flat(update: dict[str, F32]) -> NDArray[np.float64]:
    """An update as one vector, in the order of its names."""
    return np.concatenate([update[name].reshape(-1) for name in sorted(update)]).astype(np.float64)


def shaped(vector: NDArray[np.floating], like: dict[str, F32]) -> dict[str, F32]:
    """A vector as an update again."""
    found, at = {}, 0
    for name in sorted(like):
        size = like[name].size
        found[name] = np.asarray(vector[at : at + size], np.float32).reshape(like[name].shape)
        at += size
    return found
