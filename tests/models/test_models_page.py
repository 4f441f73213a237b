"""The code in docs/models.md runs as it stands there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.check import check_bundle

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
DEFINITION, PREDICTION, EXPORT = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def run(*snippets: str) -> dict[str, Any]:
    """What the snippets define, one after the other."""
    names: dict[str, Any] = {}
    for snippet in snippets:
        exec(compile(snippet, "docs/models.md", "exec"), names)  # noqa: S102
    return names


def test_a_model_takes_thirty_lines() -> None:
    lines = [line for line in DEFINITION.splitlines() if line and not line.startswith(("import", "from", '"""'))]
    assert len(lines) <= 30


def test_the_definition_predicts_in_numpy_without_torch() -> None:
    names = run(DEFINITION, PREDICTION)
    assert names["logit"].shape == (2,)
    assert np.isfinite(names["logit"]).all()
    assert sum(feature.width for feature in names["FEATURES"]) == names["INPUT"].shape[1]


@pytest.mark.slow
def test_the_exported_bundle_passes_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    names = run(DEFINITION, PREDICTION, EXPORT)
    assert names["loss"] < 0.1
    assert check_bundle(tmp_path / names["path"]) == []
