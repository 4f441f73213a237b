"""The lag from signal to decision is seen: also of what waited for a broker, or for a restart."""

from edge_agent.shell.lags import SIGNALS_MAX, Lags
from edge_agent.shell.writes import OutboxRow, Writes
from tests.edge_agent.house import NOW, House

READ_S = 100.0


def _decided(house: House) -> tuple[list[OutboxRow], dict[int, tuple[str, int]]]:
    house.tell(house.reading(1, time=house.now / 1_000 - 2))
    writes = Writes()
    writes.add(house.effects)
    return list(writes.outbox.values()), writes.signals


def test_a_decision_counts_from_its_signal_and_from_its_arrival() -> None:
    rows, signals = _decided(House().everyone_agrees())
    lags = Lags()
    lags.expect(signals, READ_S)
    lags.handed_over(rows, NOW + 1_000, READ_S + 0.004)
    signal, arrival = lags.told()
    assert signal.keys() == arrival.keys() == {placement for placement, _ in signals.values()} != set()
    for told in signal.values():
        assert (told.count, 3_000 <= told.p50_ms < 3_600) == (1, True)
    for told in arrival.values():
        assert (told.count, 4.0 <= told.p99_ms < 4.8) == (1, True)


def test_a_decision_of_an_earlier_life_counts_from_its_signal_only() -> None:
    rows, signals = _decided(House().everyone_agrees())
    lags = Lags()
    lags.handed_over(rows, NOW, READ_S)
    signal, arrival = lags.told()
    assert signal.keys() == {placement for placement, _ in signals.values()}
    assert not arrival


def test_what_expired_on_the_way_was_never_handed_over() -> None:
    rows, signals = _decided(House().everyone_agrees())
    lags = Lags()
    lags.expect(signals, READ_S)
    lags.handed_over(rows, NOW + 10**9, READ_S)
    assert lags.told() == ({}, {})


def test_what_is_remembered_on_the_way_is_bounded() -> None:
    lags = Lags()
    for entry in range(3 * SIGNALS_MAX):
        lags.expect({entry: ("place", NOW)}, READ_S)
    row: OutboxRow = (0, "t", b"", 1, False, "", b"", "", 0, "decision")
    lags.handed_over([(entry, *row[1:]) for entry in range(3 * SIGNALS_MAX)], NOW, READ_S)
    assert lags.told()[0]["place"].count == SIGNALS_MAX
