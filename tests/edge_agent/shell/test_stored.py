"""A database that an earlier version left is taken up as it stands: profiles, consent, dedupe, ledger."""

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_agent.agent import Agent
from edge_agent.doors import Doors
from edge_agent.shell import database
from edge_agent.shell.store import Store
from firmware_configs.loader import parse
from models import spec as s
from tests.edge_agent.house import DEVICE, HOME, NOW, RESTORED, bundle

STORED = Path(__file__).parents[2] / "stored"
LAST = NOW + 11 * 60_000
"""When the newest event of the stored database came."""
FEATURES: tuple[s.FeatureSpec, ...] = (
    s.Last(field="co2"),
    s.Mean(field="co2", window_s=3_600),
    s.Count(source="interaction", window_s=3_600),
    s.Ewma(field="light", half_life_s=600),
    s.TimeSince(source="interaction", cap_s=86_400),
    s.OneHot(field="item", values=("50", "181", "258")),
    s.ItemSequence(field="item", length=3),
)
SERVED = {
    "u1": [0, 0, 12, 0, 0, 0, 0, 0, 2, 3, 0],
    "household": [810, 755, 0, 406.3165588378906, 86_400, 0, 0, 0, 0, 0, 0],
}
"""What the version that wrote the database served for these features."""


@pytest.mark.parametrize("file", sorted(STORED.glob("agent_schema_*.sql")), ids=lambda path: path.stem)
def test_an_old_database_serves_the_features_that_it_served(file: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / database.FILE)) as old:
        old.executescript(file.read_text(encoding="utf-8"))
    store = Store(tmp_path / database.FILE, 256)
    given = s.Input(name="old", dtype="float32", shape=(-1, 11), from_="features", features=FEATURES)
    models: dict[str, Any] = {name: bundle(name) for name in ("affinity", "context")}
    models["old"] = SimpleNamespace(spec=SimpleNamespace(inputs=(given,)), index={"50": 0, "181": 1, "258": 2})
    doors = Doors(
        secret=store.secret,
        recall=store.recall,
        models=models,
        over_budget=lambda *_: False,
        local_hour=lambda _ms: (12, 1),
    )
    agent = Agent(parse(HOME), DEVICE, doors)
    agent.restore(store.rows(RESTORED, 1_000), LAST)  # type: ignore[arg-type]
    agent.models_changed()
    for subject, row in SERVED.items():
        state = agent.profile_of(subject)
        assert agent.features.row(given, state, LAST, (12, 1)).tolist() == [pytest.approx(row)]
        assert state.session(LAST) == {"events": 12.0, "seconds": 660.0}
        assert state.newest_ms == LAST
    store.close()
