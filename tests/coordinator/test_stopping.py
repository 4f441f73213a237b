"""A run that a person stops is left as it stands: Ctrl-C and SIGTERM give nothing up."""

import signal
import threading
from pathlib import Path

import msgspec
import pytest

from coordinator.errors import RunInterrupted, RunStopped
from coordinator.rounds import State
from coordinator.shell.driving import Driver, drive
from coordinator.shell.home import Endpoints
from coordinator.shell.mqtt_control import Control
from coordinator.shell.run_store import RunStore
from coordinator.shell.stopping import Terminated, heeded
from coordinator.shell.told import fix_of, state_of
from tests.coordinator.written import PRIVATE, begin, row, spend

KEY = "20260101-120000-abcdef"


@pytest.mark.parametrize(("sign", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_a_stopped_run_keeps_its_rounds_and_their_cost_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: type[KeyboardInterrupt], code: int
) -> None:
    store = begin(tmp_path, KEY, PRIVATE)
    spend(tmp_path, KEY, [1])
    rows = [row(KEY, 1, state="accounted"), row(KEY, 2, state="closing")]
    for one in rows:
        store.put_round(one)
    where = Endpoints(broker="mqtt://127.0.0.1:1", registry="https://r:1", superlink="", ca="", root="", control="")
    (tmp_path / "endpoints.json").write_bytes(msgspec.json.encode(where))

    def rounds(_driver: Driver) -> None:
        raise sign

    monkeypatch.setattr(Driver, "rounds", rounds)
    control = Control("mqtt://127.0.0.1:1", store)  # never dialled: nothing is offered
    with pytest.raises(RunStopped, match="1 rounds are kept") as stopped:
        drive(tmp_path, KEY, control, lambda _line: None)
    assert stopped.value.exit_status == code
    assert stopped.value.hint.startswith(f"edge-coordinator rounds resume {KEY}")
    run = store.run(KEY)
    assert run is not None
    assert (state_of(tmp_path, run), RunStore(tmp_path).plan(KEY).given_up) == ("cut off", False)
    assert store.rounds(KEY) == rows, "the open round's reports may be used yet"
    assert fix_of(tmp_path, run).startswith(f"edge-coordinator rounds resume {KEY}")


@pytest.mark.parametrize("state", ["open", "closing", "accounted"])
def test_a_run_whose_superlink_is_gone_keeps_a_round_whose_reports_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    """They may be kept, and paid for: a round that were abandoned now would be asked for again, or lost."""
    store, kept = begin(tmp_path, KEY), state != "open"
    store.put_round(row(KEY, 1, state=state))
    where = Endpoints(broker="mqtt://127.0.0.1:1", registry="https://r:1", superlink="", ca="", root="", control="")
    (tmp_path / "endpoints.json").write_bytes(msgspec.json.encode(where))

    def rounds(_driver: Driver) -> None:
        raise RunInterrupted("the SuperLink is gone", hint="start it")

    monkeypatch.setattr(Driver, "rounds", rounds)
    with pytest.raises(RunInterrupted) as cut:
        drive(tmp_path, KEY, Control("mqtt://127.0.0.1:1", store), lambda _line: None)
    run = store.run(KEY)
    assert run is not None
    assert ("rounds resume" in cut.value.hint, run.ended) == (kept, not kept)
    assert store.rounds(KEY)[0].state == (state if kept else "abandoned")


def test_sigterm_is_heeded_for_as_long_as_there_is_something_to_say() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), heeded():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_beside_the_main_thread_nothing_of_signals_changes() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with heeded():
            seen.append(signal.getsignal(signal.SIGTERM))

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert seen == [before]
