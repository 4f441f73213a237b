"""Running a pipeline: each step once, or from the cache, in order."""

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from models.errors import PipelineInvalid
from models.pipeline.config import STAGES, Config, Stage
from models.pipeline.files import Cache, Files, digest

FORMAT = 1
"""Raised when a built-in step changes what it makes of the same input."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a step is told besides the files."""

    config: Config
    settings: Mapping[str, object]
    folder: Path
    """Where the config lies; paths in settings are relative to it."""


Step = Callable[[Files, Asked], Files]
"""(all files so far, what is asked) → files to add or replace. The same arguments give the same bytes."""
Progress = Callable[[str, str, float], None]
"""(stage, what happened, seconds)."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run's result."""

    files: Files
    path: Path
    """The bundle."""
    cached: tuple[str, ...]
    """Stages that were taken from the cache."""


def run(config: Config, folder: Path, progress: Progress) -> Finished:
    """All stages; the bundle, its figures and its signature are written to `config.out` at the end.

    Args:
        config: what to do.
        folder: where it lies.
    Raises:
        PipelineInvalid: a step that does not exist, or settings that it does not take.
        ModelError: whatever a step refuses.
    """
    cache = Cache(folder / config.cache)
    files: dict[str, bytes] = {}
    taken: list[str] = []
    for name in STAGES:
        stage, began = config.stage(name), perf_counter()
        asked = Asked(config, stage.settings, folder)
        step = find_step(name, stage)
        key = _key(name, stage, config, files, _outside(name, asked))
        held = cache.get(key)
        if held is None:
            held = dict(step(files, asked))
            cache.put(key, held)
            progress(name, f"{stage.use}, made", perf_counter() - began)
        else:
            taken.append(name)
            progress(name, f"{stage.use}, from the cache", perf_counter() - began)
        files = {**files, **held}
    return Finished(files, _deliver(files, config, folder), tuple(taken))


def find_step(name: str, stage: Stage) -> Step:
    """The function of a stage.

    Raises:
        PipelineInvalid: there is none by this name.
    """
    from models.pipeline.steps import STEPS

    if ":" in stage.use:
        module, _, attribute = stage.use.partition(":")
        try:
            own: Step = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise PipelineInvalid(
                f"[{name}] use = {stage.use!r}: {error}", hint="write package.module:function, importable from here"
            ) from error
        return own
    try:
        return STEPS[name][stage.use]
    except KeyError:
        raise PipelineInvalid(
            f"[{name}] knows no step {stage.use!r}",
            hint=f"it knows {', '.join(STEPS[name])}, or your own package.module:function",
        ) from None


def _key(name: str, stage: Stage, config: Config, files: Files, outside: str) -> str:
    """Everything that a step's result depends on; what it does not, such as the folders, is left out."""
    document = {
        "format": FORMAT,
        "edgeward": version("edgeward"),
        "stage": name,
        "use": stage.use,
        "settings": stage.settings,
        "model": config.model,
        "version": config.version,
        "seed": config.seed,
        "files": digest(files),
        "outside": outside,
    }
    whole = json.dumps(document, sort_keys=True, default=str).encode()
    return f"{name}-{hashlib.sha256(whole).hexdigest()[:32]}"


def _outside(name: str, asked: Asked) -> str:
    """A hash of what a stage reads besides files and settings: source data, graphs, keys, one's own code."""
    from models.pipeline.steps import read_outside

    return digest(read_outside(name, asked))


def _deliver(files: Files, config: Config, folder: Path) -> Path:
    out = (folder / config.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    stem = f"{config.model}-{config.version}"
    for suffix, source in ((".figures.json", "figures.json"), (".edgeward.sig", "signature")):
        if source in files:
            _write(out / f"{stem}{suffix}", files[source])
    return _write(out / f"{stem}.edgeward", files["bundle.edgeward"])


def _write(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(content)
    return draft.replace(path)
