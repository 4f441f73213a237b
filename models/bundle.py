"""The bundle: one file that holds a model, how it learns, what it needs and what is known about it.

`open_bundle` trusts nothing but the bytes' own consistency; who made them is the registry's signature to say.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from models import archive, arrays
from models.errors import BundleMalformed, BundleTampered, SpecInvalid
from models.limits import CATALOGUE_MAX, FILES_MAX, ITEM_BYTES_MAX
from models.spec import Spec, parse, render, verified
from models.stored import Storage, restored, storage_of

if TYPE_CHECKING:
    from models.warm_start import WarmStart

SUFFIX = ".edgeward"
F32 = NDArray[np.float32]


class Bundle:
    """A verified bundle in memory.

    Attributes:
        path: where it was read from.
        spec: its bundle.toml.
        sha256: hash of the whole file, hex.
        size: bytes of the whole file.
    """

    def __init__(self, path: Path, spec: Spec, raw: bytes, files: Mapping[str, bytes]) -> None:
        self.path = path
        self.spec = spec
        self.sha256 = hashlib.sha256(raw).hexdigest()
        self.size = len(raw)
        self._files = MappingProxyType(dict(files))
        self._weights: dict[str, F32] = {}

    def __repr__(self) -> str:
        return f"Bundle({self.spec.name}-{self.spec.version}, sha256={self.sha256[:12]})"

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files besides bundle.toml, sorted."""
        return tuple(sorted(self.spec.files))

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            BundleMalformed: the bundle has no such file.
        """
        try:
            return self._files[name]
        except KeyError:
            raise BundleMalformed(
                f"{self.path.name} has no {name}",
                hint=f"it has {', '.join(self.files)}; choose another backend or bundle",
            ) from None

    def weights(self) -> dict[str, F32]:
        """Parameter name → read-only float32 array, in the order and shapes of the spec.

        Raises:
            SpecInvalid: weights.npz and bundle.toml disagree.
        """
        if not self._weights:
            found = arrays.unpack(self.read("weights.npz"), "weights.npz")
            self._weights = matched(self.spec, restored(found))
        return dict(self._weights)

    @property
    def storage(self) -> Storage:
        """How weights.npz holds the weights; `weights` gives float32 in any case."""
        return storage_of(arrays.unpack(self.read("weights.npz"), "weights.npz"))

    def warm_start(self) -> "WarmStart | None":
        """What policies that learn on a device begin with; None: nothing.

        Raises:
            SpecInvalid: bandit.npz and the rest disagree.
        """
        if "bandit.npz" not in self._files:
            return None
        from models import warm_start

        return warm_start.unpack(self.read(warm_start.FILE), self.spec, self.catalogue())

    def catalogue(self) -> tuple[str, ...]:
        """Item ids in the order of the candidate input's row numbers; empty without a catalogue.

        Raises:
            BundleMalformed: not UTF-8, too long, or an id stands there twice.
        """
        return _items(self.read("catalogue.txt")) if self.spec.catalogue else ()


def open_bundle(path: Path) -> Bundle:
    """Read a bundle and check size, form, names, hashes and the shapes of the weights.

    Raises:
        BundleMalformed, BundleTooLarge, BundleTampered, SpecInvalid: see `models.errors`.
    """
    return bundle_of(archive.read_limited(path), path)


def bundle_of(raw: bytes, path: Path) -> Bundle:
    """`open_bundle` for bytes at hand, read within `archive.read_limited`; `path` is what errors call them.

    Raises:
        BundleMalformed, BundleTampered, SpecInvalid: see `models.errors`.
    """
    files = archive.unpack(raw, path.name, FILES_MAX)
    document = files.pop("bundle.toml", None)
    if document is None:
        raise BundleMalformed(f"{path.name} has no bundle.toml", hint="this is no edgeward bundle; check the path")
    spec = parse(document)
    _check_hashes(path.name, spec, files)
    bundle = Bundle(path, spec, raw, files)
    bundle.weights()
    bundle.catalogue()
    bundle.warm_start()
    return bundle


def write_bundle(path: Path, spec: Spec, files: Mapping[str, bytes]) -> Path:
    """Write a bundle, its hashes filled in; the file appears whole or not at all.

    Args:
        path: the file, or an existing folder in which `NAME-VERSION.edgeward` is made.
        spec: `files` in it is replaced.
        files: every file but bundle.toml.
    Returns:
        The path of the file.
    Raises:
        SpecInvalid: spec and files contradict each other.
    """
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
    spec = msgspec.structs.replace(spec, files=hashes)
    if spec.catalogue:
        _items(files["catalogue.txt"])
    matched(spec, restored(arrays.unpack(files["weights.npz"], "weights.npz")))
    target = path / f"{spec.name}-{spec.version}{SUFFIX}" if path.is_dir() else path
    draft = target.with_name(f".{target.name}.part")
    draft.write_bytes(archive.pack({**files, "bundle.toml": render(spec)}))
    draft.replace(target)
    return target


def with_weights(bundle: Bundle, shared: Mapping[str, F32], version: str, out: Path, card_note: str) -> Path:
    """A new version from the same graphs, with other shared parameters.

    Args:
        bundle: the version that was trained further.
        shared: every shared parameter by name, float32 in the shapes of the spec, finite.
        version: of the new bundle, PEP 440, later than the old one.
        out: file or folder to write to.
        card_note: a paragraph for the card's history: what was done, with whom, how private.
    Returns:
        The path of the new file; golden outputs are computed again with onnxruntime. Weights are stored in float32
        even when those of `bundle` were quantised: rounding would swallow the small steps that a round makes.
    Raises:
        SpecInvalid: parameters that do not fit, or a version that does not rise.
    """
    from packaging.version import Version

    from models.golden import regolden

    wanted = {p.name for p in bundle.spec.of_share("shared")}
    if set(shared) != wanted:
        raise SpecInvalid(
            f"shared parameters {sorted(shared)} were given, {sorted(wanted)} are declared",
            hint="pass each of them once",
        )
    spec = verified(msgspec.structs.replace(bundle.spec, version=version, parents=(bundle.spec.version,)))
    if Version(version) <= Version(bundle.spec.version):
        raise SpecInvalid(f"version {version} is not later than {bundle.spec.version}", hint="raise the version")
    weights = matched(spec, {**bundle.weights(), **shared})
    files = {name: bundle.read(name) for name in bundle.files}
    files["weights.npz"] = arrays.pack(weights)
    files["golden.npz"] = regolden(bundle, weights)
    files["card.md"] += f"\n## Version {version}, from {bundle.spec.version}\n\n{card_note.strip()}\n".encode()
    return write_bundle(out, spec, files)


def matched(spec: Spec, found: Mapping[str, NDArray[np.generic]]) -> dict[str, F32]:
    """`found` in the order of the spec's parameters, once names, shapes, dtypes and values are right.

    Raises:
        SpecInvalid: naming the parameter.
    """
    names = {p.name for p in spec.parameters}
    if set(found) != names:
        raise SpecInvalid(
            f"weights are {sorted(found)}, bundle.toml declares {sorted(names)}",
            hint="build the bundle again",
        )
    weights: dict[str, F32] = {}
    for parameter in spec.parameters:
        array = found[parameter.name]
        if array.dtype != np.float32 or array.shape != parameter.shape or not np.isfinite(array).all():
            raise SpecInvalid(
                f"parameter {parameter.name!r}: expected finite float32 of shape {parameter.shape},"
                f" got {array.dtype} of shape {array.shape}",
                hint="pass arrays of the declared shape without NaN or infinity",
            )
        weights[parameter.name] = np.asarray(array, dtype=np.float32)
    return weights


def _check_hashes(what: str, spec: Spec, files: Mapping[str, bytes]) -> None:
    if set(files) != set(spec.files):
        raise BundleMalformed(
            f"{what} holds {sorted(files)}, bundle.toml lists {sorted(spec.files)}",
            hint="fetch or build it again",
        )
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != spec.files[name]:
            raise BundleTampered(
                f"{what}: {name} is not the file that bundle.toml lists", hint="fetch or build it again"
            )


def _items(content: bytes) -> tuple[str, ...]:
    try:
        items = tuple(content.decode().removesuffix("\n").split("\n"))
    except UnicodeDecodeError as error:
        raise BundleMalformed(f"catalogue.txt is not UTF-8: {error}", hint="build the bundle again") from error
    if not 1 <= len(items) <= CATALOGUE_MAX or len(set(items)) != len(items):
        raise BundleMalformed(
            f"catalogue.txt has {len(items)} items, expected 1 to {CATALOGUE_MAX}, each once",
            hint="build the bundle again",
        )
    if not all(item.isprintable() and 0 < len(item.encode()) <= ITEM_BYTES_MAX for item in items):
        raise BundleMalformed(
            f"catalogue.txt has an item id that is empty, unprintable or above {ITEM_BYTES_MAX} bytes",
            hint="give the items plain short ids",
        )
    return items
