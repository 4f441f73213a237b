"""Models and the runtimes that run them."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from edge_agent.errors import ProbeFailed
from edge_agent.settings import Settings
from edge_agent.shell.doctor.check import Check, fail, failed, ok, warn
from edge_agent.shell.pipe import ProbeTask
from edge_agent.shell.probing import probed
from firmware_configs.profile import Profile
from models.bundle import SUFFIX

RUNTIMES = {"onnx": ("onnxruntime",), "tflite": ("ai_edge_litert", "tflite_runtime")}
PROBE_CPU_S = 30
_INSTALL = {
    "onnx": "pip install edgeward",
    "tflite": 'pip install edgeward[tflite], or set backend = "onnx" in the profile',
}
_NONE = "deploy one with edge-coordinator, or name it in `bundles`; until then its placements use their fallback"


def runtimes(profile: Profile) -> Iterator[Check]:
    """Whether what the profile's models run on is installed."""
    for backend in sorted({"onnx", *(model.backend for model in profile.model)} if profile.model else ()):
        found = next((name for name in RUNTIMES[backend] if find_spec(name) is not None), None)
        if found is None:
            yield fail("runtime", f"nothing here runs {backend} models", _INSTALL[backend])
            continue
        try:
            told = version(found.replace("_", "-"))
        except PackageNotFoundError:
            told = "of unknown version"
        yield ok("runtime", f"{backend}: {found} {told}")


def models(settings: Settings, profile: Profile, active: dict[str, str]) -> Iterator[Check]:
    """Load every model that the agent would, in a process of its own, and compare its golden outputs.

    Args:
        active: name → version, from the state.
    """
    own = {_name(Path(file)): Path(file) for file in settings.bundles}
    folder = Path(settings.state_dir) / "bundles"
    for model in profile.model:
        fetched = folder / f"{model.name}-{active.get(model.name, '')}{SUFFIX}"
        path = fetched if fetched.exists() else own.get(model.name)
        if path is None:
            yield warn("model", f"{model.name}: none here yet", _NONE)
            continue
        try:
            probed(
                ProbeTask(
                    path=str(path), backend=model.backend, memory_mib=profile.device.memory_mib_max, cpu_s=PROBE_CPU_S
                )
            )
        except ProbeFailed as error:
            yield failed("model", error)
        else:
            yield ok("model", f"{path.name} loads and gives its golden outputs ({model.backend})")


def _name(path: Path) -> str:
    return path.name.removesuffix(SUFFIX).rsplit("-", 1)[0]
