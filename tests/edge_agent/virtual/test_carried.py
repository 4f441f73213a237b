"""Devices of a simulation that live where none of its files are: what they need came with the task."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.shell import virtual_client
from edge_agent.shell.virtual import Host
from edge_agent.shell.virtual_client import ANSWERS, FAILED, WORD, WORLD, Lives
from edge_agent.shell.virtual_files import Carried, Carrier
from firmware_configs.messages import Desired
from firmware_configs.virtual import Exercised, Failed, Live, Lived, World
from models.bundle import open_bundle, with_weights
from models.errors import BundleMalformed, ModelError
from tests.edge_agent.virtual.test_device import AFFINITY, PROFILE, START_MS, _world

HOUR_MS = 3_600_000


class Store:
    """Stands for Ray's object store: numbers are the references."""

    def __init__(self) -> None:
        self.held: list[bytes] = []
        self.fetched: list[int] = []

    def put(self, raw: bytes) -> int:
        self.held.append(raw)
        return len(self.held) - 1

    def get(self, ref: int) -> bytes:
        self.fetched.append(ref)
        return self.held[ref]


def _apart(folder: Path) -> World:
    """The world with files in a folder of its own."""
    (folder / "bundles").mkdir(parents=True)
    files = [PROFILE, *map(Path, _world().bundles)]
    profile, *bundles = (str(shutil.copy(file, folder)) for file in files)
    cohort = folder / "ratings.csv"
    rows = [f"u{n % 20},{item},4,{n * 4_000}" for n, item in enumerate(open_bundle(AFFINITY).catalogue() * 2)]
    cohort.write_text("user,item,rating,time\n" + "\n".join(rows), encoding="utf-8")
    return _world(profile=profile, bundles=tuple(bundles), folder=str(folder / "bundles"), cohort=str(cohort))


def _later(folder: Path) -> Path:
    """Another version of a bundle, as a round makes one."""
    parent = open_bundle(AFFINITY)
    shared = {one.name: parent.weights()[one.name] for one in parent.spec.of_share("shared")}
    return with_weights(parent, shared, "1.0.1", folder, "Made by a test.")


def _wanting(version: str) -> Live:
    desired = Desired(revision=1, registry="virtual", bundles={"affinity": version})
    return Live(devices=(4,), until_ms=START_MS + HOUR_MS, desired=(msgspec.msgpack.encode(desired),), wants_state=True)


def _counted(said: Iterable[Lived | Exercised]) -> list[Lived]:
    """All but what is measured."""
    return [msgspec.structs.replace(one, cpu_s=0.0, rss_bytes=0) for one in said if isinstance(one, Lived)]


def test_devices_live_the_same_where_the_files_are_gone(tmp_path: Path) -> None:
    world, store = _apart(tmp_path / "files"), Store()
    carrier, carried = Carrier(world, store.put), Carried(store.get)
    at_home = Host(world)
    _later(Path(world.folder))
    carrier.keep_up()
    word = Live(devices=(4, 9), until_ms=START_MS + 40 * HOUR_MS)
    expected = [_counted(at_home.do(word)), _counted(at_home.do(_wanting("1.0.1")))]
    shutil.rmtree(tmp_path / "files")
    carried.take(carrier.refs)
    away = Host(world, carried)
    assert [_counted(away.do(word)), _counted(away.do(_wanting("1.0.1")))] == expected
    assert b"1.0.1" in expected[1][-1].states[4]
    assert sorted(store.fetched) == [0, 1, 2, 3, 4]


def test_a_version_of_an_earlier_simulation_does_not_travel_and_a_rewritten_one_does(tmp_path: Path) -> None:
    world, store = _apart(tmp_path / "files"), Store()
    path = _later(Path(world.folder))
    carrier = Carrier(world, store.put)
    carrier.keep_up()
    assert str(path) not in carrier.refs
    assert path == _later(Path(world.folder))
    carrier.keep_up()
    carrier.keep_up()
    assert store.held[carrier.refs[str(path)]] == path.read_bytes()
    assert len(store.held) == 5


def test_a_version_that_did_not_travel_is_told_by_its_path(tmp_path: Path) -> None:
    world, store = _apart(tmp_path / "files"), Store()
    carried = Carried(store.get)
    carried.take(Carrier(world, store.put).refs)
    with pytest.raises(BundleMalformed, match=r"affinity-1\.9\.edgeward did not come with the task"):
        list(Host(world, carried).do(_wanting("1.9")))


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_bundle_are_refused(raw: bytes) -> None:
    carried: Carried[int] = Carried(lambda _ref: raw)
    carried.take({"x": 0})
    with pytest.raises(ModelError):
        carried.bundle("x")


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Store:
    """This process as a worker of Ray's; gives its object store."""
    store = Store()
    for part in ("run_id", "node_id", "task_id"):
        monkeypatch.setattr(TaskIdentity, f"_{part}", 1)
    monkeypatch.setattr(virtual_client, "_fetch", store.get)
    monkeypatch.setattr(virtual_client, "_worker", virtual_client._Worker())
    return store


def _asked(world: World, word: Live) -> Message:
    packed = ConfigRecord({WORD: msgspec.msgpack.encode(word), WORLD: msgspec.msgpack.encode(world)})
    return Message(RecordDict({WORD: packed}), dst_node_id=1, message_type="query")


def _context() -> Context:
    return Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})


def test_a_worker_reads_each_file_once_however_many_messages_it_is_sent(tmp_path: Path, worker: Store) -> None:
    world = _apart(tmp_path / "files")
    carrier = Carrier(world, worker.put)
    shutil.rmtree(tmp_path / "files")
    for hour in (1, 2, 3):
        word = Live(devices=(hour,), until_ms=START_MS + hour * HOUR_MS)
        reply = Lives(carrier.refs)(_asked(world, word), _context())
        assert ANSWERS in reply.content.config_records[ANSWERS]
    assert sorted(worker.fetched) == [0, 1, 2, 3]


@pytest.mark.usefixtures("worker")
def test_what_a_worker_lacks_comes_back_as_words(tmp_path: Path) -> None:
    world = _apart(tmp_path / "files")
    reply = Lives({})(_asked(world, Live(devices=(1,), until_ms=START_MS + HOUR_MS)), _context())
    failed = msgspec.msgpack.decode(bytes(reply.content.config_records[ANSWERS][FAILED]), type=Failed)
    assert failed.what == f"{world.profile} did not come with the task"
    assert failed.hint
