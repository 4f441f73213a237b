"""What a machine knows of itself: power supplies as Linux tells them, and a host's file that counts instead."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.learn.checkin import Readings
from edge_agent.shell.readings import FRESH_S, read


def supply(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir(parents=True)
    for file, text in files.items():
        (folder / name / file).write_text(f"{text}\n")


def test_a_gateway_without_a_battery_is_on_mains(tmp_path: Path) -> None:
    assert read("", tmp_path) == Readings(mains=True, battery=None, load=read("", tmp_path).load)


def test_a_phone_s_battery_and_plug_are_told(tmp_path: Path) -> None:
    supply(tmp_path, "BAT0", type="Battery", capacity="64")
    supply(tmp_path, "usb", type="USB", online="0")
    found = read("", tmp_path)
    assert (found.mains, found.battery) == (False, 0.64)
    (tmp_path / "usb" / "online").write_text("1\n")
    assert read("", tmp_path).mains is True


def test_a_mouse_s_battery_does_not_carry_the_machine(tmp_path: Path) -> None:
    supply(tmp_path, "mouse", type="Battery", capacity="3", scope="Device")
    assert (read("", tmp_path).mains, read("", tmp_path).battery) == (True, None)


def test_without_the_folder_power_is_unknown(tmp_path: Path) -> None:
    assert read("", tmp_path / "nowhere").mains is None


def test_what_the_host_tells_counts_for_a_quarter_of_an_hour(tmp_path: Path) -> None:
    file = tmp_path / "host.json"
    file.write_text('{"mains": false, "battery": 0.4, "metered": true, "load": 0.1}')
    assert read(str(file), tmp_path / "none") == Readings(mains=False, battery=0.4, metered=True, load=0.1)
    old = time.time() - FRESH_S - 1
    os.utime(file, (old, old))
    assert read(str(file), tmp_path / "none").metered is None


@given(text=st.text(max_size=60) | st.sampled_from(['{"battery": "full"}', "[1]", '{"x": 1}', "{"]))
def test_a_file_that_is_none_changes_nothing(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("told") / "host.json"
    file.write_text(text, encoding="utf-8", errors="replace")
    found = read(str(file), file.parent / "none")
    assert (found.mains, found.metered) == (None, None)
