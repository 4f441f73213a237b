"""What the commands that add up in secret are told of devices that vanish or collude reaches the sum."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from coordinator.cli import main
from coordinator.shell import bias, business, declared_sum, fleet_drift
from coordinator.shell.business import Patience
from coordinator.shell.declared_sum import Asked, add_up
from coordinator.shell.job import Job
from firmware_configs.profile import Egress, Privacy
from firmware_configs.subgroups import Shape

WORDS = (
    "--vanish",
    "0.3",
    "--collude",
    "0.1",
    "--join-s",
    "5",
    "--deadline-s",
    "6",
    "--grace-s",
    "7",
    "--minimum-reports",
    "4",
)


class Stop(Exception):
    """Far enough."""


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        (bias, "look", ("bias", "context", "--profile", "home.toml")),
        (fleet_drift, "look", ("drift", "context", "--profile", "home.toml")),
        (business, "release", ("business", "release", "home.toml")),
    ],
    ids=["bias", "drift", "business"],
)
def test_each_command_hands_on_what_it_is_told(
    module: Any, name: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    def run(*args: object, **named: object) -> None:
        given.extend((*args, *named.values()))
        raise Stop

    monkeypatch.setattr(module, name, run)
    done = CliRunner().invoke(main, [*words, *WORDS, "--home", str(tmp_path)])
    assert isinstance(done.exception, Stop), done.output
    (told,) = [one for one in given if isinstance(one, Asked | Patience)]
    expected = {"minimum_reports": 4, "vanish": 0.3, "collude": 0.1, "join_s": 5.0, "deadline_s": 6.0, "grace_s": 7.0}
    assert msgspec.structs.asdict(told) == expected


@pytest.mark.parametrize("share", ["1.0", "-0.1", "nan"])
@pytest.mark.parametrize("words", [("bias", "context"), ("drift", "context"), ("business", "release", "home.toml")])
def test_a_share_that_is_none_is_refused(words: tuple[str, ...], share: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [*words, "--collude", share, "--home", str(tmp_path)])
    assert done.exit_code == 2
    assert "--collude" in done.output


def test_the_sum_is_made_for_so_many_as_may_vanish_and_collude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = []

    def gathered(_home: Path, job: Job, *_args: object) -> None:
        jobs.append(job)
        raise Stop

    parent = SimpleNamespace(path=tmp_path / "context.edgeward", spec=SimpleNamespace(name="context", version="1.0.0"))
    monkeypatch.setattr(declared_sum, "gathered", gathered)
    monkeypatch.setattr(declared_sum, "newest", lambda *_: parent)
    monkeypatch.setattr(declared_sum, "Registry", SimpleNamespace(existing=lambda _home: None))
    egress = Egress(kind="statistic", destination="superlink", purposes=("improve-models",), bytes_day_max=1, k_min=3)
    shape = Shape(segments=())
    with pytest.raises(Stop):
        add_up(
            tmp_path, "context", shape, egress, Privacy(clip_norm=1.0), ["a", "b", "c"],
            Asked(vanish=0.3, collude=0.1), lambda _line: None,
        )  # fmt: skip
    (job,) = jobs
    assert job.secret is not None
    assert (job.secret.vanish, job.secret.collude) == (0.3, 0.1)
