"""A checkpoint is read as it was written, or not at all."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from coordinator.errors import CheckpointDamaged
from coordinator.shell.checkpoint import Checkpoint, load, save

FLOATS = st.sampled_from([np.float16, np.float32, np.float64])
ARRAYS = FLOATS.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)))
NAMES = st.text("abc./_-", min_size=1, max_size=8).filter(lambda n: not n.startswith("/"))


@given(shared=st.dictionaries(NAMES, ARRAYS, max_size=3), state=st.dictionaries(NAMES, ARRAYS, max_size=3))
def test_parameters_and_the_strategys_state_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, shared: dict[str, np.ndarray], state: dict[str, np.ndarray]
) -> None:
    path = tmp_path_factory.mktemp("checkpoint") / "round-1.npz"
    held = load(path, save(path, Checkpoint(shared=shared, state=state)))
    for found, written in ((held.shared, shared), (held.state, state)):
        assert list(found) == list(written)
        for name, value in written.items():
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
            assert found[name].tobytes() == value.tobytes()


@given(st.data())
def test_a_file_that_is_not_what_was_written_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "round-1.npz"
    sha256 = save(path, Checkpoint(shared={"w": np.ones((2, 3), np.float32)}))
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    with pytest.raises(CheckpointDamaged, match="not the file that was written"):
        load(path, sha256)


def test_a_file_that_is_gone_says_what_to_do_and_nobody_else_may_read_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointDamaged, match="No such file") as caught:
        load(tmp_path / "round-1.npz", "")
    assert "rounds abandon" in caught.value.hint
    save(tmp_path / "round-1.npz", Checkpoint(shared={}))
    assert (tmp_path / "round-1.npz").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["round-1.npz"]


def test_state_that_is_not_of_floats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="`step` is int64"):
        save(tmp_path / "round-1.npz", Checkpoint(shared={}, state={"step": np.ones(1, np.int64)}))
