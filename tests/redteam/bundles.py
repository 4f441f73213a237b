"""Malicious bundles, as a signed registry would hand them out: each through the device's own probe, then its shelf.

The signature is right: whoever made it holds the keys. What is left is what a bundle may do to the device that runs it.
"""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from edge_agent.effects import Switch
from edge_agent.errors import ProbeFailed
from edge_agent.happenings import BundleFailed
from edge_agent.settings import Settings
from edge_agent.shell.pipe import ProbeTask
from edge_agent.shell.probing import probed
from edge_agent.shell.shelf import BundleShelf
from firmware_configs.loader import parse
from models import arrays
from models.bundle import write_bundle
from models.spec import Last
from tests.edge_agent.house import HOME
from tests.edge_agent.shell import mutants as mutation
from tests.models.sample import parts, zoo_path

NEW = "6.6.6"
CPU_S = 10
HUGE = 2**31 - 1


class Met(Struct, frozen=True):
    """What became of one bundle."""

    by: str
    """What stopped it: the probe, the shelf, or nothing."""
    why: str


def _built(folder: Path, change: Callable[[mutation.Fields], None] | None = None, **more: object) -> Path:
    spec, files = parts("context")
    if change is not None:
        model = mutation.fields_of(files["predict.onnx"])
        at = next(n for n, (key, _) in enumerate(model) if key >> 3 == 7)
        graph = mutation.fields_of(model[at][1])
        change(graph)
        model[at] = (model[at][0], mutation.message(graph))
        files = {**files, "predict.onnx": mutation.message(model)}
    weights = more.pop("weights", None)
    if weights is not None:
        files = {**files, "weights.npz": weights}  # type: ignore[dict-item]
    return write_bundle(folder, msgspec.structs.replace(spec, version=NEW, **more), files)


def fills_memory(folder: Path) -> Path:
    """Half a terabyte of zeros."""
    return _built(folder, lambda graph: mutation.fill_memory(graph, HUGE, 64))


def takes_for_ever(folder: Path) -> Path:
    """Minutes a call."""
    return _built(folder, lambda graph: mutation.take_time(graph, 2**22, 500, b"out_bias"))


def hangs_later(folder: Path) -> Path:
    """Quick for all that a probe knows, minutes for one reading."""
    return _built(folder, lambda graph: mutation.hang_on(graph, b"features", 100_000, 2**22, 500))


def other_weights(folder: Path) -> Path:
    """Weights that are not those of its golden outputs."""
    spec, _ = parts("context")
    dice = np.random.default_rng(0)
    held = {p.name: dice.normal(size=p.shape).astype(np.float32) for p in spec.parameters}
    return _built(folder, weights=arrays.pack(held))


def reads_more(folder: Path) -> Path:
    """It asks for a field that the profile does not collect."""
    spec, _ = parts("context")
    asked = msgspec.structs.replace(
        spec.inputs[0], features=(*spec.inputs[0].features[:-1], Last(field="diary", default=0.0))
    )
    return _built(folder, inputs=(asked,), needed_fields=("temperature", "humidity", "light", "diary"))


def climbs_out(folder: Path) -> Path:
    """An archive with a file for another folder."""
    path = _built(folder)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../agent.toml", 'device = "mine"')
    return path


def under_another_name(folder: Path) -> Path:
    """Another bundle in the file of this one."""
    path = folder / f"context-{NEW}.edgeward"
    shutil.copy(zoo_path("affinity"), path)
    return path


BUNDLES: dict[str, Callable[[Path], Path]] = {
    "fills memory": fills_memory,
    "takes for ever": takes_for_ever,
    "hangs on one reading": hangs_later,
    "weights that nobody measured": other_weights,
    "reads more than is collected": reads_more,
    "an archive that climbs out": climbs_out,
    "another bundle under the name": under_another_name,
}


def met(make: Callable[[Path], Path], folder: Path, *, probes: bool = True) -> Met:
    """One bundle on its way to serve.

    Args:
        probes: False: the control, which goes to the shelf at once.
    """
    held = folder / "bundles"
    held.mkdir(parents=True)
    path = make(held)
    if probes:
        try:
            probed(ProbeTask(path=str(path), holds=f"context {NEW}", cpu_s=CPU_S))
        except ProbeFailed as error:
            return Met("probe", error.what.partition(": ")[2][:160])
    shelf = BundleShelf(Settings(device="d", state_dir=str(folder)), parse(HOME).profile)
    said = shelf.switch(Switch(name="context", version=NEW, to="canary"))
    if isinstance(said, BundleFailed):
        return Met("shelf", f"{said.code} {said.reason}"[:160])
    return Met("nothing", "it is on trial")


def attack(folder: Path) -> dict[str, Met]:
    """Every bundle."""
    return {name: met(make, folder / str(number)) for number, (name, make) in enumerate(BUNDLES.items())}
