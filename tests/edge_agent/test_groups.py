"""Options before a command's name count for that command: no other device is read or written than was named."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.commands.group import main
from edge_agent.commands.options import hand_down, settings_option, state_option
from tests.commands import group

OWN = {"web": "settings_path", "ledger": "state_dir"}
"""Groups that do something by themselves → the option that says on which device."""


@click.group(invoke_without_command=True)
@settings_option
@state_option
@click.pass_context
def outer(ctx: click.Context, settings_path: Path, state_dir: Path) -> None:
    if not hand_down(ctx):
        click.echo(f"outer {settings_path} {state_dir}")


@outer.command()
@settings_option
def inner(settings_path: Path) -> None:
    click.echo(f"inner {settings_path}")


NAMES = st.one_of(st.none(), st.text("abc./", min_size=1, max_size=8))


@given(before=NAMES, after=NAMES, variable=NAMES)
def test_the_nearest_word_counts_then_the_groups_then_the_variable(
    before: str | None, after: str | None, variable: str | None
) -> None:
    words = [*(["--settings", before] if before else []), "inner", *(["--settings", after] if after else [])]
    done = CliRunner().invoke(outer, words, env={"EDGE_AGENT_SETTINGS": variable})
    assert done.exit_code == 0, done.output
    assert done.output.strip() == f"inner {Path(after or before or variable or 'agent.toml')}"


def test_an_option_that_the_command_does_not_take_is_refused_instead_of_ignored() -> None:
    done = CliRunner().invoke(outer, ["--state-dir", "x", "inner"])
    assert done.exit_code == 2
    assert "takes no --state-dir" in done.output
    assert CliRunner().invoke(outer, ["--state-dir", "x"]).output == "outer agent.toml x\n"
    assert CliRunner().invoke(outer, ["inner"], env={"EDGE_AGENT_STATE_DIR": "x"}).exit_code == 0, (
        "it was said of others"
    )


def doing() -> Iterator[tuple[str, click.Group]]:
    for name, command in group("edge-agent").commands.items():
        if isinstance(command, click.Group) and command.invoke_without_command:
            yield name, command


def test_every_group_that_does_something_by_itself_is_known_here() -> None:
    assert {name for name, _ in doing()} == set(OWN)
    for name, command in doing():
        assert OWN[name] in {param.name for param in command.params}


def test_a_link_is_made_on_the_device_that_the_group_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    least = 'device = "home-1"\nprofile = "p.toml"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n'
    for folder in ("here", "there"):
        state = tmp_path / folder / "state"
        state.mkdir(parents=True)
        (tmp_path / folder / "agent.toml").write_text(f'state_dir = "{state}"\n{least}')
    monkeypatch.chdir(tmp_path / "here")
    there = str(tmp_path / "there" / "agent.toml")
    before = CliRunner().invoke(main, ["web", "--settings", there, "link", "anna"])
    after = CliRunner().invoke(main, ["web", "link", "anna", "--settings", there])
    assert before.exit_code == after.exit_code == 0, before.output + after.output
    assert any((tmp_path / "there" / "state").iterdir())
    assert not any((tmp_path / "here" / "state").iterdir())


def test_a_ledger_is_exported_of_the_device_that_the_group_was_given(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    before = CliRunner().invoke(main, ["ledger", "--state-dir", str(tmp_path / "there"), "export", "--out", out])
    after = CliRunner().invoke(main, ["ledger", "export", "--state-dir", str(tmp_path / "there"), "--out", out])
    assert before.output == after.output
    assert str(tmp_path / "there") in before.output
    refused = CliRunner().invoke(main, ["ledger", "--state-dir", str(tmp_path / "there"), "seal"])
    assert refused.exit_code == 2
    assert "`edge-agent ledger seal` takes no --state-dir" in " ".join(refused.output.split())
