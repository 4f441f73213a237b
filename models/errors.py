"""Why a model was not taken. One root: whatever happens, the caller keeps the model that it has.

ModelError
├── BundleMalformed      the archive or bundle.toml is not what the format says
│   └── BundleTooLarge   … or is larger than the limits
├── BundleTampered       a file's hash differs from the one that bundle.toml states
├── SpecInvalid          bundle.toml contradicts itself
├── GraphForbidden       an operator, opset or external file that devices do not run
├── GoldenMismatch       a backend's outputs differ from those stored when the bundle was made
├── BackendMissing       the runtime for this artefact is not installed
├── FeedRefused          inputs that the model does not take; this one decision falls back
├── DatasetInvalid       training data cannot be read
├── SecureSumFailed      a sum in secret cannot be made; nobody's part of it is known
├── PipelineInvalid      a training config asks for what cannot be
├── GeneratorInvalid     a file is no generator of a cohort
└── BuildUnavailable     the heavy [build] or [bench] extra is needed and absent
"""

from typing import ClassVar

from firmware_configs.errors import EdgeError


class ModelError(EdgeError):
    """Keep the old model."""

    code: ClassVar[str] = "MOD100"


class BundleMalformed(ModelError):
    code: ClassVar[str] = "MOD101"


class BundleTooLarge(BundleMalformed):
    code: ClassVar[str] = "MOD102"


class BundleTampered(ModelError):
    code: ClassVar[str] = "MOD103"


class SpecInvalid(ModelError):
    code: ClassVar[str] = "MOD104"


class GraphForbidden(ModelError):
    code: ClassVar[str] = "MOD105"


class GoldenMismatch(ModelError):
    code: ClassVar[str] = "MOD106"


class BackendMissing(ModelError):
    code: ClassVar[str] = "MOD107"
    exit_status: ClassVar[int] = 2


class FeedRefused(ModelError):
    code: ClassVar[str] = "MOD110"


class DatasetInvalid(ModelError):
    code: ClassVar[str] = "MOD108"


class BuildUnavailable(ModelError):
    code: ClassVar[str] = "MOD109"
    exit_status: ClassVar[int] = 2


class PipelineInvalid(ModelError):
    code: ClassVar[str] = "MOD111"
    exit_status: ClassVar[int] = 2


class SecureSumFailed(ModelError):
    code: ClassVar[str] = "MOD112"


class GeneratorInvalid(ModelError):
    code: ClassVar[str] = "MOD113"
