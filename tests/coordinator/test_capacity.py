"""The capacity plan: formulas that hold together, a table of costs that is read strictly, a command that says it."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.capacity import CLUSTER_MIN, LADDER, READ_SHARE, Cost, Costs, Demand, Machine, Plan, parse, plan
from coordinator.cli import main
from coordinator.commands.capacity import COSTS
from coordinator.errors import CapacityInvalid
from coordinator.progress import size
from coordinator.shell import mosquitto

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
SHIPPED = COSTS.read_text()
TABLE, LISTED = parse(SHIPPED)
MACHINE = Machine()
demands = st.builds(
    Demand,
    devices=st.integers(1, 10**9),
    online=st.floats(0.01, 1.0),
    events_a_day=st.floats(0, 1e6),
    shared_broker=st.booleans(),
    words_a_day=st.floats(0, 1e4),
    rounds_a_day=st.floats(0, 1e3),
    cohort=st.integers(1, 10**6),
    versions_a_day=st.floats(0, 100),
)


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["capacity", *words])


def part(found: Plan, name: str) -> object:
    return next(one for one in found.parts if one.name == name)


def test_a_fleet_worked_out_by_hand() -> None:
    """10,000 devices, each 864 words a day at 3 times the mean: 300 words a second."""
    costs = msgspec.structs.replace(
        TABLE,
        listener_word_s=0.001,
        mosquitto_message_s=0.0001,
        mosquitto_connect_s=0.003,
        mosquitto_connection_bytes=10_000.0,
        mosquitto_read_s=1e-18,
        superlink_round_s=0.4,
    )
    demand = Demand(devices=10_000, online=1.0, words_a_day=864.0, rounds_a_day=0.0, versions_a_day=0.0)
    found = plan(demand, costs, MACHINE)
    broker, listener = part(found, "broker"), part(found, "listener")
    assert broker.cores == pytest.approx(300 * 0.0001 + 10_000 * 0.003 / 300)  # type: ignore[attr-defined]
    assert broker.memory_bytes == pytest.approx(1e8)  # type: ignore[attr-defined]
    assert listener.cores == pytest.approx(0.3)  # type: ignore[attr-defined]
    assert listener.full_at == 20_000, "0.6 of a core are twice 0.3"  # type: ignore[attr-defined]
    assert found.bottleneck == "listener"
    assert found.machines == 1
    round_of_100 = plan(msgspec.structs.replace(demand, rounds_a_day=1.0, cohort=100), costs, MACHINE)
    assert round_of_100.round_s == pytest.approx(40.0)


def test_mosquitto_is_full_where_it_would_serve_nobody_for_too_long_while_it_reads_its_list() -> None:
    """5,000 devices: 2.5 s; 0.6 of 10 s are reached by 7,745. If all came within a day, it would read always."""
    costs = msgspec.structs.replace(TABLE, mosquitto_read_s=1e-7)
    demand = Demand(devices=5_000)
    found = plan(demand, costs, MACHINE)
    assert (found.read_s, found.rights_s) == (pytest.approx(2.5), pytest.approx(25.0))
    assert (found.bottleneck, part(found, "broker").full_at) == ("broker", 7_745)  # type: ignore[attr-defined]
    unread = plan(demand, msgspec.structs.replace(costs, mosquitto_read_s=1e-18), MACHINE)
    hasty = plan(msgspec.structs.replace(demand, join_days=1.0), costs, MACHINE)
    idle, seldom, often = (part(one, "broker").cores for one in (unread, found, hasty))  # type: ignore[attr-defined]
    assert seldom - idle == pytest.approx(5_000 * 3 / 90 / 86_400 * 2.5)
    assert often - idle == pytest.approx(READ_SHARE), "then it is left alone for a while"
    patient = plan(msgspec.structs.replace(demand, devices=10_000, read_s=20.0), costs, MACHINE)
    assert part(patient, "broker").instances == 1  # type: ignore[attr-defined]
    large = plan(msgspec.structs.replace(demand, devices=10_000), costs, MACHINE)
    assert (part(large, "broker").instances, large.read_s) == (CLUSTER_MIN, 0.0)  # type: ignore[attr-defined]


def test_what_is_reckoned_of_reading_is_what_the_coordinator_waits_for(tmp_path: Path) -> None:
    assert TABLE.mosquitto_read_s * 10_000**2 == pytest.approx(mosquitto.READ_S)
    path = mosquitto.folder(tmp_path) / mosquitto.LIST
    path.parent.mkdir()
    with path.open("wb") as listed:
        listed.truncate(mosquitto.READ_BYTES)
    pause_s = mosquitto.pause_s(tmp_path)
    assert mosquitto.READ_S / (mosquitto.READ_S + pause_s) == pytest.approx(READ_SHARE)


@given(demands)
def test_more_devices_never_need_less(demand: Demand) -> None:
    more = msgspec.structs.replace(demand, devices=demand.devices * 2)
    small, large = plan(demand, TABLE, MACHINE), plan(more, TABLE, MACHINE)
    for one, other in zip(small.parts, large.parts, strict=True):
        # A cluster, which takes mosquitto's place, has no list to read.
        spared = READ_SHARE if one.name == "broker" and one.instances == 1 < other.instances else 0.0
        assert other.cores + spared >= one.cores * (1 - 1e-9)
        assert other.instances >= one.instances
        assert other.memory_bytes >= one.memory_bytes * (1 - 1e-9)


@given(demands)
def test_one_instance_is_full_exactly_where_it_says(demand: Demand) -> None:
    for one in plan(demand, TABLE, MACHINE).parts:
        if one.full_at is not None:
            assert (one.instances == 1) == (demand.devices <= one.full_at) or one.name == "door"
            assert one.full_at >= 0


@given(demands, st.integers(1, 64))
def test_machines_hold_the_cores_that_are_busy(demand: Demand, cores: int) -> None:
    machine = Machine(cores=cores)
    found = plan(demand, TABLE, machine)
    assert sum(one.cores for one in found.parts) <= found.machines * cores * machine.utilisation * (1 + 1e-9)


def test_rounds_do_not_grow_with_the_fleet_but_with_their_cohort() -> None:
    small, large = (plan(Demand(devices=n), TABLE, MACHINE) for n in (1_000, 1_000_000))
    assert part(small, "SuperLink") == part(large, "SuperLink")
    wide = plan(Demand(devices=1_000_000, cohort=100_000), TABLE, MACHINE)
    assert part(wide, "SuperLink").instances > 1  # type: ignore[attr-defined]


def test_what_is_not_built_is_said() -> None:
    wide = plan(Demand(devices=1_000_000, cohort=100_000), TABLE, MACHINE)
    link = part(wide, "SuperLink")
    assert not link.built  # type: ignore[attr-defined]
    assert "not built" in link.instead  # type: ignore[attr-defined]


def test_each_cost_says_what_measured_it_and_that_can_be_run() -> None:
    assert set(LISTED) == set(Costs.__struct_fields__)
    for name, cost in LISTED.items():
        assert cost.command.startswith("python -m tests.benchmarks."), name
        module = cost.command.split()[2].replace(".", "/")
        root = Path(__file__).parents[2]
        assert (root / f"{module}.py").exists() or (root / module / "__main__.py").exists(), name


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("[listener_word_s]", "[listener_wort_s]"), "no cost `listener_word_s`"),
        ((SHIPPED, SHIPPED + '[more]\nvalue = 1.0\nunit = "s"\nwhat = ""\ncommand = ""\n'), "there is no cost `more`"),
        (("value = ", "value = -"), "cannot be read"),
        (("value = ", "value = nan #"), "listener|agent|no number|cannot be read"),
        (("unit = ", "units = "), "cannot be read"),
        (("[", "[["), "cannot be read"),
    ],
)
def test_a_table_that_is_not_whole_is_refused_by_name(change: tuple[str, str], word: str) -> None:
    with pytest.raises(CapacityInvalid, match=word):
        parse(SHIPPED.replace(*change))


@settings(max_examples=50)
@given(st.one_of(st.text(max_size=200), st.integers(0, len(SHIPPED)).map(lambda n: SHIPPED[:n] + "\x00" + SHIPPED[n:])))
def test_any_text_is_a_table_or_a_named_error(text: str) -> None:
    try:
        parse(text)
    except CapacityInvalid as error:
        assert "costs" in str(error) or "cost" in str(error)


def test_the_command_shows_a_ladder_one_size_and_json() -> None:
    ladder = call()
    assert ladder.exit_code == 0
    assert all(f"{count:,}" in ladder.output for count in LADDER)
    one = call("--devices", "1e6")
    assert one.exit_code == 0
    assert "1,000,000 devices" in one.output
    assert "broker: a cluster" in one.output
    data = json.loads(call("--devices", "1e6", "--json").output)
    assert data["plans"][0]["devices"] == 1_000_000
    assert set(data["costs"]) == set(LISTED)
    assert [one["devices"] for one in json.loads(call("--json").output)["plans"]] == list(LADDER)


@pytest.mark.parametrize(
    "words",
    [
        ["--devices", "0"],
        ["--devices", "1.5"],
        ["--devices", "many"],
        ["--devices", "inf"],
        ["--devices", "1e300"],
        ["--online", "0"],
        ["--online", "nan"],
        ["--online", "2"],
        ["--peak", "0.5"],
        ["--join-days", "0"],
        ["--read-s", "inf"],
        ["--cores", "1e9"],
        ["--bundle-bytes", "1e13"],
        ["--utilisation", "2"],
        ["--events-a-day", "-1"],
        ["--memory-gib", "nan"],
        ["--costs", "/nowhere/costs.toml"],
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_exit_code_2(words: list[str]) -> None:
    done = call(*words)
    assert done.exit_code == 2, done.output
    assert "Expected" not in done.output, "in our words, with the option's name"
    assert words[0] in done.output or "costs.toml" in done.output


def tables() -> dict[str, list[str]]:
    """The tables of docs/scale.md, as they must be."""
    plans = [plan(Demand(devices=count), TABLE, MACHINE) for count in LADDER]
    ladder = [
        f"| {one.devices:,} | {one.machines:,} | {part(one, 'broker').instances:,} "  # type: ignore[attr-defined]
        f"| {part(one, 'SuperLink').instances:,} "  # type: ignore[attr-defined]
        f"| {sum(p.cores for p in one.parts):.2f} | {size(int(sum(p.memory_bytes for p in one.parts)))} "
        f"| {sum(p.bytes_s for p in one.parts) * 8 / 1e6:,.1f} Mbit/s "
        f"| {size(int(sum(p.storage_bytes for p in one.parts)))} |"
        for one in plans
    ]
    costs = [f"| {cost.what} | {_amount(cost)} |" for cost in LISTED.values()]
    middle = plans[2]
    full = [
        f"| {one.name} | {'one core' if one.cores_max == 1 else 'all cores'} "
        f"| {f'{one.full_at:,}' if one.full_at else 'its cohort decides'} | {_instead(one.name)} |"
        for one in middle.parts
    ]
    return {
        "ladder": [
            *_head("devices", "machines", "broker nodes", "SuperLinks", "cores busy", "memory", "line", "disk"),
            *ladder,
        ],
        "costs": [*_head("what", "cost"), *costs],
        "full": [*_head("part", "one instance uses", "full at (as above)", "then"), *full],
    }


def _head(*names: str) -> tuple[str, str]:
    return "| " + " | ".join(names) + " |", "|---" * len(names) + "|"


def _amount(cost: Cost) -> str:
    """With a unit that keeps the number short."""
    if cost.unit == "B":
        return size(int(cost.value))
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if cost.value * factor >= 1.0:
            return f"{cost.value * factor:.3g} {unit}"
    return f"{cost.value * 1e9:.3g} ns"


def _instead(name: str) -> str:
    """What takes a part's place, as it is said of a fleet that is far too large for one."""
    huge = plan(Demand(devices=10**9, cohort=10**6, parameters=10**6), TABLE, MACHINE)
    return part(huge, name).instead  # type: ignore[attr-defined,no-any-return]


def test_the_page_has_what_the_formulas_say() -> None:
    """`python -m tests.coordinator.test_capacity` writes the tables anew."""
    page = PAGE.read_text()
    for rows in tables().values():
        assert "\n".join(rows) in page


if __name__ == "__main__":
    written = PAGE.read_text()
    for name, rows in tables().items():
        before, rest = written.split(f"<!-- {name} -->\n")
        written = f"{before}<!-- {name} -->\n" + "\n".join(rows) + re.sub(r"\A(\|.*\n)*", "\n", rest)
    PAGE.write_text(written)
