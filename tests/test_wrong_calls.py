"""Every command, asked for in a wrong way: it says what is wrong and how to mend it, and never shows our own code."""

from pathlib import Path
from random import Random

import click
import pytest
from click.testing import CliRunner

from firmware_configs.cli_group import HELP_NAMES
from tests.commands import NAMES, group, leaves

APART = {("install-service",), ("uninstall-service",), ("up",), ("rollout", "run"), ("bench", "occupancy")}
"""They change the machine, serve until they are stopped, or train for minutes."""
FOLDERS = {"home", "state_dir"}
DATABASES = ("coordinator.db", "dashboard.db", "edgeward.db", "reference.db")


def _given(parameter: click.Parameter, wrong: str) -> str | None:
    """What to give: `wrong` for each path, something for whatever is required; None: leave it out."""
    if isinstance(parameter.type, click.Path) or parameter.name in FOLDERS:
        return wrong
    if not parameter.required:
        return None
    if isinstance(parameter.type, click.Choice):
        return str(parameter.type.choices[0])
    return "3" if parameter.type.name.startswith(("int", "float")) else "zzz"


def _words(command: click.Command, wrong: str) -> list[str]:
    options: list[str] = []
    arguments: list[str] = []
    for parameter in command.params:
        given = _given(parameter, wrong)
        if given is None or (isinstance(parameter, click.Option) and parameter.is_flag):
            continue
        if isinstance(parameter, click.Option):
            options += [parameter.opts[0], *[given] * max(1, parameter.nargs)]
        else:
            arguments += [given] * max(1, parameter.nargs)
    return options + arguments


@pytest.mark.parametrize("name", NAMES)
def test_help_is_told_by_either_name_at_every_command(name: str) -> None:
    program = group(name)
    for path, _ in leaves(program):
        short, long = (CliRunner().invoke(program, [*path, option]) for option in ("-h", "--help"))
        assert (short.exit_code, short.output) == (0, long.output)


@pytest.mark.parametrize("name", NAMES)
def test_no_range_of_numbers_takes_what_is_no_finite_number(name: str) -> None:
    for _, command in leaves(group(name)):
        ranges = [one for one in command.params if isinstance(one.type, click.FloatRange)]
        for parameter in ranges:
            for said in ("nan", "inf", "-inf"):
                with pytest.raises(click.BadParameter):
                    parameter.type_cast_value(click.Context(command, help_option_names=HELP_NAMES), said)


@pytest.fixture
def wrong(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A path at which there is nothing of use; the working folder is empty."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    noise = Random(1).randbytes(3_000)  # noqa: S311
    path = tmp_path / "wrong"
    match request.param:
        case "noise":
            path.write_bytes(noise)
        case "damaged":
            path.mkdir()
            for name in DATABASES:
                (path / name).write_bytes(noise)
        case "long":
            return "x" * 5_000
    return str(path)


@pytest.mark.parametrize("wrong", ["nothing", "noise", "damaged", "long"], indirect=True)
@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_call_ends_with_what_to_mend(name: str, wrong: str) -> None:
    program = group(name)
    for path, command in leaves(program):
        if path in APART:
            continue
        words = [*path, *_words(command, wrong)]
        ended = CliRunner().invoke(program, words)
        assert ended.exception is None or isinstance(ended.exception, SystemExit), (words, ended.exception)
        assert ended.exit_code in {0, 1, 2}, words
        if ended.exit_code == 2:
            assert "fix: " in ended.output or "Error: " in ended.output, (words, ended.output)
