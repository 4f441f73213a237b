"""The canonical archive and the arrays in it."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models import archive, arrays
from models.errors import BundleMalformed, BundleTooLarge, ModelError
from models.limits import BUNDLE_BYTES_MAX

NAMES = st.text("abcdefgh._-/é", min_size=1, max_size=12).filter(lambda name: not name.endswith("/"))
FILES = st.dictionaries(NAMES, st.binary(max_size=60), max_size=5)
ARRAYS = st.dictionaries(
    st.text("abc/._", min_size=1, max_size=8).filter(lambda name: not name.endswith("/")),
    st.sampled_from([np.float32, np.int64, np.int8]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=4,
)


@given(FILES)
def test_what_goes_in_comes_out(files: dict[str, bytes]) -> None:
    assert archive.unpack(archive.pack(files), "it", 10) == files


@given(FILES)
def test_order_and_time_leave_no_trace(files: dict[str, bytes]) -> None:
    assert archive.pack(files) == archive.pack(dict(reversed(files.items())))


def test_the_form_is_the_same_on_every_python() -> None:
    digest = hashlib.sha256(archive.pack({"b.txt": b"two", "a.txt": b"one"})).hexdigest()
    assert digest == "63c98ea065684636ee85da71360500878a4f583df8d84142c23a07158682365b"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_by_name(raw: bytes) -> None:
    with pytest.raises(BundleMalformed):
        archive.unpack(b"x" + raw, "it", 10)


@given(FILES.filter(bool), st.data())
def test_one_changed_bit_is_refused(files: dict[str, bytes], data: st.DataObject) -> None:
    raw = bytearray(archive.pack(files))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BundleMalformed):
        archive.unpack(bytes(raw), "it", 10)


@given(FILES.filter(bool), st.data())
def test_a_cut_off_archive_is_refused(files: dict[str, bytes], data: st.DataObject) -> None:
    raw = archive.pack(files)
    with pytest.raises(BundleMalformed):
        archive.unpack(raw[: data.draw(st.integers(0, len(raw) - 1))], "it", 10)


def _zip(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in entries:
            file.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def test_a_compression_bomb_is_refused_unread() -> None:
    with pytest.raises(BundleMalformed, match="compressed"):
        archive.unpack(_zip([("a", bytes(10_000_000))], zipfile.ZIP_DEFLATED), "it", 10)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused() -> None:
    with pytest.raises(BundleMalformed, match="twice"):
        archive.unpack(_zip([("a", b"1"), ("a", b"2")]), "it", 10)


def test_too_many_entries_and_too_many_bytes_are_refused() -> None:
    with pytest.raises(BundleTooLarge, match="11 entries"):
        archive.unpack(_zip([(str(i), b"") for i in range(11)]), "it", 10)
    with pytest.raises(BundleTooLarge):
        archive.unpack(bytes(BUNDLE_BYTES_MAX + 1), "it", 10)


@given(ARRAYS)
def test_arrays_come_back_as_they_were(some: dict[str, np.ndarray]) -> None:
    back = arrays.unpack(arrays.pack(some), "it")
    assert set(back) == set(some)
    for name, array in some.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_numpy_itself_reads_our_arrays() -> None:
    raw = arrays.pack({"a": np.arange(3, dtype=np.float32)})
    with np.load(io.BytesIO(raw), allow_pickle=False) as file:
        np.testing.assert_array_equal(file["a"], [0, 1, 2])


def test_other_dtypes_are_a_programmers_mistake() -> None:
    with pytest.raises(TypeError, match="float64"):
        arrays.pack({"a": np.zeros(2)})


def _npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return archive.pack({"a.npy": b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data})


@pytest.mark.parametrize(
    "raw",
    [
        _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"),
        _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"),
        _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", b"1234"),
        _npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", b"1234"),
        _npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"12345678"),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", b"12345678"),
        _npy("__import__('os').getcwd()"),
        archive.pack({"a.npy": b""}),
        archive.pack({"a.npy": b"\x80\x04pickle"}),
    ],
)
def test_a_header_that_lies_is_refused(raw: bytes) -> None:
    with pytest.raises(BundleMalformed):
        arrays.unpack(raw, "it")


@given(st.binary(max_size=200))
def test_any_array_bytes_are_read_or_refused_by_name(content: bytes) -> None:
    try:
        arrays.unpack(archive.pack({"a.npy": b"\x93NUMPY\x01\x00" + content}), "it")
    except ModelError:
        return
