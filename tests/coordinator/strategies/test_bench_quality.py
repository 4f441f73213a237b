"""The coordinator's own `adam` is the server of the bench: rounds of `affinity-recent` end at the same parameters."""

import numpy as np
from msgspec.structs import replace

from models import federated
from models.zoo.affinity_recent import FACTORS, PLAN
from tests.benchmarks.strategies import asked, server_of


def test_rounds_by_the_coordinators_adam_end_where_the_bench_ends() -> None:
    dice = np.random.default_rng(0)
    items = 60
    histories = [dice.choice(items, int(dice.integers(3, 15)), replace=False) for _ in range(40)]
    plan = replace(PLAN, cohort=8, participations=6)
    ends = [
        federated.train(histories, items, plan, federated.start(items, plan), FACTORS, server=server)[0]
        for server in (None, server_of(asked("adam")), server_of(asked("fedavg")))
    ]
    for name in ("item_embedding", "item_bias", "place_weight"):
        bench, ours, other = (getattr(end, name) for end in ends)
        np.testing.assert_allclose(ours, bench, rtol=0, atol=2e-5)
        assert np.abs(other - bench).max() > 0.01
