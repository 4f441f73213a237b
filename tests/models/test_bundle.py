"""Reading, writing and following up bundles."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import archive, arrays, spec
from models.bundle import open_bundle, with_weights, write_bundle
from models.check import check_bundle
from models.errors import BundleMalformed, BundleTampered, ModelError, SpecInvalid
from models.zoo import SHIPPED
from tests.models.sample import parts, zoo_path


@pytest.mark.parametrize("name", SHIPPED)
def test_a_bundle_written_again_is_the_same_to_the_byte(name: str, tmp_path: Path) -> None:
    document, files = parts(name)
    written = write_bundle(tmp_path, document, files)
    assert written.name == zoo_path(name).name
    assert written.read_bytes() == zoo_path(name).read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "damaged.edgeward"


@settings(deadline=None, max_examples=150)
@given(data=st.data(), name=st.sampled_from(SHIPPED))
def test_a_changed_byte_anywhere_is_refused_by_name(data: st.DataObject, name: str, scratch: Path) -> None:
    raw = bytearray(zoo_path(name).read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    scratch.write_bytes(raw)
    with pytest.raises(ModelError, match=r"\[MOD\d+\] .*\n  fix: "):
        open_bundle(scratch)


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_a_cut_off_download_is_refused_by_name(data: st.DataObject, scratch: Path) -> None:
    raw = zoo_path("context").read_bytes()
    scratch.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(BundleMalformed):
        open_bundle(scratch)


def _rewritten(path: Path, changes: dict[str, bytes | None]) -> Path:
    """A canonical archive with files replaced, added or (None) removed, but bundle.toml's hashes as they were."""
    files = archive.unpack(zoo_path("affinity").read_bytes(), "it", 10)
    for name, content in changes.items():
        if content is None:
            del files[name]
        else:
            files[name] = content
    path.write_bytes(archive.pack(files))
    return path


def test_a_file_that_was_swapped_is_refused_by_its_hash(tmp_path: Path) -> None:
    with pytest.raises(BundleTampered, match=r"weights\.npz"):
        open_bundle(_rewritten(tmp_path / "x", {"weights.npz": arrays.pack({"w": np.zeros(3, np.float32)})}))


@pytest.mark.parametrize("stranger", ["../../etc/passwd", "/etc/passwd", "run.py", "a/b.onnx"])
def test_a_file_that_does_not_belong_is_refused(stranger: str, tmp_path: Path) -> None:
    with pytest.raises(BundleMalformed):
        open_bundle(_rewritten(tmp_path / "x", {stranger: b"hello"}))


@pytest.mark.parametrize("missing", ["bundle.toml", "predict.onnx", "catalogue.txt", "golden.npz"])
def test_a_missing_file_is_named(missing: str, tmp_path: Path) -> None:
    with pytest.raises(BundleMalformed, match=missing.replace(".", r"\.")):
        open_bundle(_rewritten(tmp_path / "x", {missing: None}))


def test_a_spec_may_not_list_a_name_that_is_not_of_the_format() -> None:
    document, _ = parts("affinity")
    listed = msgspec.structs.replace(document, files={**document.files, "../evil": "0" * 64})
    with pytest.raises(SpecInvalid, match="strangers"):
        spec.verified(listed)


@pytest.mark.parametrize("wrong", [b"", b"a\na\n", b"a\n\nb\n", b"\xff\n", b"x" * 200 + b"\n", b"a\x07b\n"])
def test_a_catalogue_that_cannot_be_is_refused(wrong: bytes, tmp_path: Path) -> None:
    document, files = parts("affinity")
    with pytest.raises(BundleMalformed, match=r"catalogue\.txt"):
        write_bundle(tmp_path / "x.edgeward", document, {**files, "catalogue.txt": wrong})


def test_a_path_that_is_not_there_gives_an_error_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(BundleMalformed, match="fix: check the path"):
        open_bundle(tmp_path / "absent.edgeward")


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    document, files = parts("affinity")
    with pytest.raises(SpecInvalid):
        write_bundle(tmp_path, document, {**files, "weights.npz": arrays.pack({})})
    assert list(tmp_path.iterdir()) == []


def test_new_weights_make_a_new_version_that_passes_every_check(tmp_path: Path) -> None:
    old = open_bundle(zoo_path("context"))
    weights = old.weights()
    shared = {p.name: weights[p.name] + np.float32(0.25) for p in old.spec.of_share("shared")}
    path = with_weights(old, shared, "1.1.0", tmp_path, "Two rounds with five devices, clip 1.0, no noise.")
    new = open_bundle(path)
    assert path.name == "context-1.1.0.edgeward"
    assert (new.spec.version, new.spec.parents) == ("1.1.0", (old.spec.version,))
    np.testing.assert_array_equal(new.weights()["out_bias"], shared["out_bias"])
    np.testing.assert_array_equal(new.weights()["offset"], weights["offset"])
    assert new.read("predict.onnx") == old.read("predict.onnx")
    assert "five devices" in new.read("card.md").decode()
    assert check_bundle(path, "both") == []
    with pytest.raises(BundleMalformed, match="has no catalogue"):
        new.read("catalogue.txt")


def test_new_weights_twice_are_the_same_to_the_byte(tmp_path: Path) -> None:
    old = open_bundle(zoo_path("affinity"))
    shared = {p.name: old.weights()[p.name] * np.float32(1.5) for p in old.spec.of_share("shared")}
    first, second = (with_weights(old, shared, "1.0.1", tmp_path / f"{n}.edgeward", "x") for n in (1, 2))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"item_bias": np.zeros(3, np.float32)}, "item_bias"),
        ({"item_bias": np.zeros(34, np.float64)}, "float64"),
        ({"item_bias": np.full(34, np.nan, np.float32)}, "NaN"),
        ({"user_vector": np.zeros(16, np.float32)}, "user_vector"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: dict[str, np.ndarray], word: str, tmp_path: Path) -> None:
    old = open_bundle(zoo_path("affinity"))
    shared = {p.name: old.weights()[p.name] for p in old.spec.of_share("shared")}
    with pytest.raises(SpecInvalid, match=word):
        with_weights(old, {**shared, **change}, "1.0.1", tmp_path, "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["1.0.0", "0.9", "2.0.0.0-beta", "next"])
def test_a_version_that_does_not_rise_or_is_none_is_refused(version: str, tmp_path: Path) -> None:
    old = open_bundle(zoo_path("affinity"))
    shared = {p.name: old.weights()[p.name] for p in old.spec.of_share("shared")}
    with pytest.raises(SpecInvalid, match="version"):
        with_weights(old, shared, version, tmp_path, "x")


def test_weights_in_hand_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        open_bundle(zoo_path("context")).weights()["offset"][0] = 1.0


def test_a_bundle_may_be_read_from_anywhere(tmp_path: Path) -> None:
    copied = Path(shutil.copy(zoo_path("propensity"), tmp_path / "renamed"))
    assert open_bundle(copied).spec.name == "propensity"
