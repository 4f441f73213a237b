"""The log: text or JSON, one line a thing, never a flood, and never a word about a person."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.settings import LogSettings
from edge_agent.shell.say import LINES_MAX, QUIET_S, TEXTS_MAX, Quiet, Say
from tests.benchmarks.load import DEVICE, PROFILE, READING, agent_command, broker, process, wait_for, write_agent
from tests.edge_agent.shell.test_run import Ear, tell


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_are_text_or_json_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    Say(LogSettings(), "d")("info", "start", "one\ntwo  three")
    assert capsys.readouterr().err.endswith(" info start one two three\n")
    Say(LogSettings(format="json"), "d")("error", "AGT301", "full “disk”")
    said = json.loads(capsys.readouterr().err)
    assert (said["level"], said["device"], said["code"], said["text"]) == ("error", "d", "AGT301", "full “disk”")
    assert said["time"].endswith("+00:00")


def test_what_is_below_the_level_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    say = Say(LogSettings(level="warning"), "d")
    say("info", "a", "b")
    say("warning", "a", "c")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_line_that_repeats_is_said_once_a_minute_with_its_count() -> None:
    clock = Clock()
    quiet = Quiet(clock)
    assert quiet.passes("AGT601", "gone") == ""
    assert [quiet.passes("AGT601", "gone") for _ in range(5)] == [None] * 5
    assert quiet.passes("AGT602", "gone") == ""
    clock.now = QUIET_S
    assert quiet.passes("AGT601", "gone") == " (again 5 times since)"
    assert quiet.passes("AGT601", "gone") is None


def test_a_code_with_ever_new_words_is_bounded_too() -> None:
    clock = Clock()
    quiet = Quiet(clock)
    said = [quiet.passes("AGT203", f"text {n}") for n in range(100)]
    assert said.count("") == LINES_MAX
    clock.now = QUIET_S
    assert quiet.passes("AGT203", "text") == f" ({100 - LINES_MAX} other lines of AGT203 were left out)"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=2), st.floats(0, 30)), max_size=80))
def test_however_much_comes_a_minute_holds_so_many_lines_a_code(lines: list[tuple[str, str, float]]) -> None:
    clock = Clock()
    quiet = Quiet(clock)
    said: list[tuple[float, str]] = []
    for code, text, wait in lines:
        clock.now += wait
        if quiet.passes(code, text) is not None:
            said.append((clock.now, code))
    for at, code in said:
        # Two windows may touch.
        assert sum(at <= t < at + QUIET_S and c == code for t, c in said) <= 2 * LINES_MAX


def test_what_is_remembered_is_bounded() -> None:
    clock = Clock()
    quiet = Quiet(clock)
    for n in range(3 * TEXTS_MAX):
        clock.now += QUIET_S / LINES_MAX
        quiet.passes("c", str(n))
    assert len(quiet._texts) <= TEXTS_MAX


def test_a_log_that_nobody_reads_any_more_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def isatty(self) -> bool:
            return False

        def write(self, _text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Broken())
    Say(LogSettings(), "d")("error", "a", "b")


SECRETS = {"id": "ev-PERSONAL1", "who": "alice-PERSONAL2", "card": "PERSONAL3-4111", "note": "PERSONAL4"}
PRIVATE = """
[[source.field]]
name = "card"
type = "text"
category = "user.financial"
purposes = ["bench"]
transform = { kind = "keyed-hash" }
[retention]
"user.financial" = { days = 1 }
"""


@pytest.fixture
def line(tmp_path: Path) -> Iterator[int]:
    with broker("iotcore", tmp_path) as port:
        yield port


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_value_subject_or_id_of_real_traffic_is_in_the_log_at_any_level(
    tmp_path: Path, line: int, form: str
) -> None:
    profile = PROFILE.replace('event_id = "id"', 'event_id = "id"\nsubject = "who"').replace("[retention]\n", PRIVATE)
    settings, log = write_agent(tmp_path / "a", line, profile), tmp_path / "log"
    settings.write_text(settings.read_text() + f'log = {{ level = "debug", format = "{form}" }}\n')
    ear = Ear(line, "edgeward/1/+/decision/#")
    with process(*agent_command(settings), log=log):
        wait_for(lambda: " connected " in log.read_text() or '"connected"' in log.read_text(), "the line")
        good = {**READING, **SECRETS}
        tell(line, good)
        tell(line, {**good, "card": {"PERSONAL5": 1}})
        tell(line, {**good, "temperature": "PERSONAL6"})
        tell(line, {**good, "who": ["PERSONAL7"]})
        tell(line, b'{"PERSONAL8": ' + b"[" * 50)
        own = f"edgeward/1/{DEVICE}"
        tell(line, {"purposes": {"PERSONAL9": "x"}, "time_ms": 1}, f"{own}/consent/PERSONAL10")
        tell(line, {"decision_id": "PERSONAL11", "outcome": "PERSONAL12"}, f"{own}/feedback")
        tell(line, {"subject": "PERSONAL13", "fields": {"card": ["PERSONAL14"]}}, f"{own}/request/presence")
        tell(line, {"bundles": {"PERSONAL15": 1}, "revision": "PERSONAL16"}, f"{own}/desired")
        tell(line, {**good, "id": "last"})
        wait_for(lambda: ear.count("decision") >= 2, "the decisions")
    ear.close()
    said = log.read_text()
    assert "PERSONAL" not in said
    assert "AGT204" in said  # the refusals are there, by code
    if form == "json":
        assert all(json.loads(each)["device"] == DEVICE for each in said.splitlines())
