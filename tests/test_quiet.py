"""Our processes tell nobody anything: libraries that phone home are switched off before they start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BUNDLES = Path(__file__).parent.parent / "models" / "zoo" / "bundles"
PREDICT = Path(__file__).parent.parent / "models" / "zoo" / "graphs" / "context" / "predict.onnx"
DEEDS = {
    "open a session": f"from models.session import open_session; open_session(open({str(PREDICT)!r}, 'rb').read())",
    "be a learner": "import edge_agent.shell.learner, edge_agent.shell.fleet",
    "probe a bundle": "from pathlib import Path; from edge_agent.shell.probe import probe;"
    f"probe(max(Path({str(BUNDLES)!r}).glob('context-*')), 'tflite')",
    "run on LiteRT": "import edge_agent.infer.tflite_backend, ai_edge_litert.interpreter",
    "run rounds": "import coordinator.shell.server_app",
    "look at bundles": "from models.cli import main; main(['ls'], standalone_mode=False)",
}


@pytest.mark.parametrize("deed", DEEDS)
def test_no_library_makes_an_identifier_of_this_device(deed: str, tmp_path: Path) -> None:
    """onnxruntime 1.32 writes a device id and a queue of events to upload as soon as it is imported."""
    quiet = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY" and not k.startswith("XDG_")}
    environment = {**quiet, "HOME": str(tmp_path), "FLWR_TELEMETRY_ENABLED": "0"}
    subprocess.run([sys.executable, "-c", DEEDS[deed]], env=environment, check=True, capture_output=True)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == []
