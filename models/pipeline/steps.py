"""The built-in steps by stage and name, and what they read besides the files that are passed on."""

import inspect
from pathlib import Path

from models.build import GRAPHS
from models.pipeline import finish, training
from models.pipeline.run import Asked, Step, find_step

STEPS: dict[str, dict[str, Step]] = {
    "data": {"default": training.data},
    "features": {"default": training.everything, "active": training.active, "without": training.without},
    "train": {"default": training.train},
    "calibrate": {"default": training.everything, **finish.CALIBRATIONS},
    "quantise": {"default": training.everything, "float16": finish.float16, "int8": finish.int8},
    "evaluate": {"default": finish.evaluated, "none": training.everything},
    "card": {"default": finish.card},
    "sign": {"default": training.everything, "ed25519": finish.signed},
}


def read_outside(stage: str, asked: Asked) -> dict[str, bytes]:
    """What a stage reads from outside: its result may be taken from the cache only if these are the same."""
    use = asked.config.stage(stage).use
    if ":" in use:
        source = inspect.getsourcefile(inspect.unwrap(find_step(stage, asked.config.stage(stage))))
        return {"code": Path(source).read_bytes()} if source else {}
    if stage == "data":
        return training.sources(asked)
    if stage == "train":
        folder = GRAPHS / asked.config.model
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*")) if path.is_file()}
    return finish.read_key(asked) if stage == "sign" else {}
