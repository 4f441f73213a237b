"""Every command of docs/playbooks, in its order, on one real coordinator and one real device; and what it led to."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.coordinator.seat import MOSQUITTO, until
from tests.docs.world import DEVICE, ROOT, World, commands, world
from tests.rollout.versions import with_graph

PAGES: Final = ROOT / "docs" / "playbooks"
ORDER: Final = (
    "README.md",
    "incident.md",
    "bad-model.md",
    "privacy-incident.md",
    "broker-outage.md",
    "coordinator-restore.md",
    "postmortem.md",
    # The device does not come back from it.
    "lost-device.md",
)
FINDINGS: Final = {"edge-agent doctor": {0, 1, 2}, "edge-coordinator fleet doctor": {0, 1, 2}}
"""What exits with how bad its findings are."""
FAILS: Final = {
    ("broker-outage.md", "edge-coordinator status", 1): {1},
    ("privacy-incident.md", "edge-audit ledger verify home-1.ledger --key home-1.pub", 1): {1},
}
"""(page, command, its how manieth time there) → exit codes, where the page says that it fails."""
SILENT: Final = ("export", "cp", "rm", "test", "!")
"""Commands of the shell that say nothing when all is well."""


def text_of(page: str) -> str:
    return (PAGES / page).read_text()


def _break_the_broker(place: World) -> None:
    place.end("up")
    until(lambda: not place.connected())


def _is_back(place: World) -> None:
    until(place.connected)


def _lose_the_home(place: World) -> None:
    """Versions came after the copy: the device has seen metadata that the copy does not soon catch up with."""
    for version in ("1.0.4", "1.0.5", "1.0.6", "1.0.7"):
        place.does(f"edge-coordinator registry publish {with_graph(place.folder, version, lambda _graph: None)}")
    _publish(place, "1.0.8")
    place.end("up")


def _publish(place: World, version: str) -> None:
    place.does(f"edge-coordinator registry publish {with_graph(place.folder, version, lambda _graph: None)}")
    place.does(f"edge-coordinator deploy context {version} --device {DEVICE}")
    until(lambda: place.serves(version))


def _none_is_open(place: World) -> None:
    """The rollback is carried out by the process that carries the rollout on, with its next step."""
    until(lambda: "rolled-back" in place.does("edge-coordinator rollout ls"))


def _is_in_use(place: World) -> None:
    """Somebody uses the device while the next command runs: a record of nothing is refused."""
    end = time.monotonic() + 12.0

    def use() -> None:
        while time.monotonic() < end:
            place.events(1)
            time.sleep(0.5)

    threading.Thread(target=use, daemon=True).start()


BEFORE: Final[dict[tuple[str, str, int], Callable[[World], None]]] = {
    ("bad-model.md", "edge-coordinator deploy context 1.0.0", 1): _none_is_open,
    ("privacy-incident.md", "edge-coordinator listen --device home-1 --seconds 20 --out arrived.jsonl", 1): _is_in_use,
    ("broker-outage.md", "edge-agent status", 1): _break_the_broker,
    ("broker-outage.md", "edge-agent status --json", 1): _is_back,
    ("coordinator-restore.md", next(c for c in commands(text_of("coordinator-restore.md")) if "mv " in c), 1): (
        _lose_the_home
    ),
    ("coordinator-restore.md", "edge-coordinator fleet show home-1", 1): _is_back,
}
"""What happens before a command of a page: (page, command, its how manieth time there)."""


def _came_back(place: World) -> None:
    until(lambda: place.serves("1.0.0"))
    place.events(1)


def _takes_something_new(place: World) -> None:
    _publish(place, "1.0.9")


def _is_out(place: World) -> None:
    """The connection that stands is worth nothing, and no other is made."""
    place.end("agent")
    until(lambda: "FAIL  broker" in place.shell("edge-agent doctor").stdout)


def _was_left_alone(place: World) -> None:
    """Looking closely at the device did not throw it out: the broker takes a certificate's name for the client id."""
    log = (place.folder / "agent.log").read_text()
    assert (log.count("info connected"), log.count("AGT601")) == (1, 0), log
    place.events(1)


AFTER: Final[dict[str, Callable[[World], None]]] = {
    "incident.md": _was_left_alone,
    "bad-model.md": _came_back,
    "broker-outage.md": lambda place: place.events(1),
    "coordinator-restore.md": _takes_something_new,
    "lost-device.md": _is_out,
}
"""What must be so once a page was followed."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    with world(tmp_path_factory.mktemp("fleet")) as made:
        yield made


def test_every_playbook_has_its_turn() -> None:
    assert sorted(ORDER) == sorted(path.name for path in PAGES.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("page", ORDER)
def test_every_command_of_a_playbook_works_as_it_stands(page: str, place: World) -> None:
    """The pages follow upon each other: run them all, in this order."""
    times: Counter[str] = Counter()
    for command in commands(text_of(page)):
        times[command] += 1
        at = (page, command, times[command])
        BEFORE.get(at, lambda _place: None)(place)
        if command.startswith("edge-coordinator up"):
            place.up(command)
            continue
        done = place.shell(command)
        said = f"{page}: {command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode in FAILS.get(at, FINDINGS.get(command, {0})), said
        assert "Traceback" not in said
        assert (done.stdout + done.stderr).strip() or command.split()[0] in SILENT, said
    AFTER.get(page, lambda _place: None)(place)


def test_the_index_leads_from_every_alert_to_a_page() -> None:
    rules = (ROOT / "packaging" / "observability" / "edgeward.rules.yml").read_text()
    assert set(re.findall(r"`(Edgeward\w+)`", text_of("README.md"))) == set(re.findall(r"alert: (\w+)", rules))


@pytest.mark.parametrize("page", ORDER)
def test_every_page_that_a_playbook_names_is_there(page: str) -> None:
    text = text_of(page)
    for name in re.findall(r"(?<![\w/-])([a-z-]+\.md)", text):
        assert (PAGES / name).exists(), name
    for name in re.findall(r"docs/[\w./-]+\.md", text):
        assert Path(ROOT / name).exists(), name
