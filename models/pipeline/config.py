"""The document that `edge-models train` reads: what to build, from what, and by which steps."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from models.errors import PipelineInvalid

STAGES = ("data", "features", "train", "calibrate", "quantise", "evaluate", "card", "sign")
"""In the order in which they run."""


class Stage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step: which function, and what it is told."""

    use: Annotated[str, Meta(min_length=1, max_length=200)] = "default"
    """A built-in's name, or `package.module:function` of one's own."""
    settings: dict[str, Any] = {}


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole config. A stage that is not named runs its default, which for most does nothing."""

    model: Annotated[str, Meta(min_length=1)]
    """A model of the zoo."""
    version: str = "1.0.0"
    seed: Annotated[int, Meta(ge=0)] = 0
    """Of everything random in every step."""
    out: str = "."
    """Folder for the bundle; relative to the config."""
    cache: str = ".edgeward-train"
    """Folder for what steps made; relative to the config. It may be deleted at any time."""
    data: Stage = Stage()
    features: Stage = Stage()
    train: Stage = Stage()
    calibrate: Stage = Stage()
    quantise: Stage = Stage()
    evaluate: Stage = Stage()
    card: Stage = Stage()
    sign: Stage = Stage()

    def stage(self, name: str) -> Stage:
        """One of STAGES."""
        found = getattr(self, name)
        assert isinstance(found, Stage)  # noqa: S101 - a programmer's mistake
        return found


def read_config(path: Path) -> Config:
    """The config at `path`.

    Raises:
        PipelineInvalid: unreadable, not TOML, an unknown key, a wrong type, or no such model.
    """
    from models.zoo import ZOO

    try:
        config = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Config)
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineInvalid(f"{path} cannot be read: {error}", hint="check the path") from error
    except tomllib.TOMLDecodeError as error:
        raise PipelineInvalid(f"{path} is not TOML: {error}", hint="see models/configs for examples") from error
    except msgspec.ValidationError as error:
        raise PipelineInvalid(f"{path}: {error}", hint="see models/configs for examples") from error
    if config.model not in ZOO:
        raise PipelineInvalid(f"{path}: no model {config.model!r}", hint=f"the zoo has {', '.join(ZOO)}")
    return config
