"""What commands write with `--out`: whole, and only files are replaced."""

import os
import stat
import threading
from pathlib import Path

import pytest

from firmware_configs import whole_file


def test_a_file_is_replaced_whole_and_no_draft_is_left(tmp_path: Path) -> None:
    out = tmp_path / "notice.html"
    out.write_text("older and longer")
    whole_file.write(out, b"new")
    assert out.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [out]


def test_a_private_file_is_private_from_the_first_byte(tmp_path: Path) -> None:
    whole_file.write(tmp_path / "me.json", b"{}", 0o600)
    assert stat.S_IMODE((tmp_path / "me.json").stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    whole_file.write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_pipe_gets_the_bytes_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    whole_file.write(pipe, b"new")
    reader.join(10)
    assert got == [b"new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        whole_file.write(tmp_path, b"new")
