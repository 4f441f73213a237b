"""What the agent may ask of the world while it steps. The shell gives these; tests and replay give their own."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from edge_agent.infer.model import LoadedModel
from edge_agent.learn.checkin import Readings
from edge_agent.timings import Untimed
from firmware_configs.histogram import Histogram


class Doors(Struct, frozen=True, kw_only=True):
    """Reads only; nothing here has an effect.

    Attributes:
        secret: 32 bytes, made at the device's first start; keys hashes and draws, and never leaves.
        recall: (room or shelf, key) → committed bytes that are not in memory, or None.
        models: name → the model that is active now. The shell changes it, then says `BundleReady`.
        over_budget: (decision id, budget in ms) → whether its time is up; the first question starts the watch.
            Replay answers what was recorded.
        trials: name → the model on trial beside the active one. The shell changes it, then says `BundleStaged`.
        clock: monotonic seconds, to compare what two versions cost; nothing else depends on it.
        holds: room → whether the store has any row of it, as of the start.
        home_key: text that all devices of a home share, so that their experiments agree; empty: this device is alone.
        lags: how long decisions took until now, by placement: from the signal, and from its arrival; for status only.
        local_hour: unix ms → (hour 0-23, weekday 0-6 from Monday) where the device stands.
        documents: profile, experiment → NAME-VERSION that runs.
        given_up: NAME-VERSION → why it is not taken again.
        coordinator: id of the coordinator that this device was enrolled with; empty: the first one that is believed.
        seal: the newest seal of the ledger; for status only.
        local_ms: (days since 1970, minutes after midnight) by the device's local clock → unix ms.
        readings: what the device knows of its power, network and load, now.
        timings: where time goes, and what is traced; no decision depends on it.
        home_assistant: discovery prefix under which this device is announced; empty: it is not.
        zoned: (unix ms, IANA zone; empty or unknown: the device's) → (hour, weekday, days since 1970) by local clocks.
    """

    secret: bytes
    recall: Callable[[str, str], bytes | None]
    models: Mapping[str, LoadedModel]
    over_budget: Callable[[str, float], bool]
    local_hour: Callable[[int], tuple[int, int]]
    trials: Mapping[str, LoadedModel] = {}
    clock: Callable[[], float] = float
    holds: Callable[[str], bool] = lambda _room: True
    home_key: str = ""
    lags: Callable[[], tuple[dict[str, Histogram], dict[str, Histogram]]] = lambda: ({}, {})
    coordinator: str = ""
    documents: Mapping[str, str] = {}
    given_up: Mapping[str, str] = {}
    seal: Callable[[], bytes] = bytes
    local_ms: Callable[[int, int], int] = lambda day, minute: (day * 1_440 + minute) * 60_000
    readings: Callable[[], Readings] = Readings
    timings: Untimed = Untimed()
    home_assistant: str = ""
    zoned: Callable[[int, str], tuple[int, int, int]] = lambda ms, _zone: utc(ms)


def utc(ms: int, _zone: str = "") -> tuple[int, int, int]:
    """Hour, weekday and day by the clocks of UTC, whatever the zone."""
    day, rest = divmod(ms, 86_400_000)
    return rest // 3_600_000, (day + 3) % 7, day
