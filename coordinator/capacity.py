"""How many machines a fleet needs: plain formulas over costs that one machine measured.

`costs.toml` has the costs with the command that measured each; docs/scale.md states what the formulas leave out.
All rates are those of the busiest time, `peak` times the mean; all bounds leave `utilisation` of a part in use.
"""

import math
import tomllib
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from coordinator.errors import CapacityInvalid

DAY_S = 86_400
LADDER = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
"""Sizes of a fleet that are shown when none is asked for."""
UPDATE_BYTES = 1.1
"""Of an update, a parameter: int8 with scales and framing (`python -m tests.benchmarks.bytes`: 0.26 of float32)."""
MODEL_BYTES = 4.0
"""Of the parameters that a round sends to a device, a parameter: float32."""
COMBINE_BYTES = 4.0
"""Of an update in the server app's memory, a parameter: float32, all of a round at once."""
MESSAGE_BYTES = 400.0
"""Of an MQTT message of ours with its topic and TLS record; `reported` has 368 (docs/rollout.md)."""
ENROLMENT_BYTES = 2_000.0
"""Of a device on disk: keys and certificate, node at the SuperLink, its lines in the access list."""
CALL_S_MAX = 30.0
"""A call to the SuperLink must not wait longer: learners say that they are there every 30 s, and are gone after 60."""
READ_SHARE = 0.1
"""Of the time, in which mosquitto reads its access list at most and serves nobody: in between it is left alone."""
CLUSTER_MIN = 3
"""Nodes of a cluster that shall survive the loss of one and still know who is right."""

Positive = Annotated[float, Meta(gt=0.0, le=1e15)]
NotNegative = Annotated[float, Meta(ge=0.0, le=1e15)]


class Cost(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that was measured."""

    value: Positive
    unit: str
    what: str
    command: str
    """What measured it."""


class Costs(Struct, frozen=True, kw_only=True):
    """What things cost on the machine that was measured; seconds are of one core, bytes are resident or on disk."""

    agent_event_s: float
    agent_decision_s: float
    mosquitto_message_s: float
    mosquitto_connection_bytes: float
    mosquitto_connect_s: float
    mosquitto_read_s: float
    """For the square of the devices in the list."""
    listener_word_s: float
    listener_device_bytes: float
    enrol_s: float
    enrol_known_s: float
    superlink_round_s: float
    superlink_call_s: float
    door_round_s: float
    door_fetch_s: float
    door_mib_s: float
    combine_parameter_s: float
    rollout_device_s: float
    rollout_device_bytes: float


class Demand(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of a fleet's middle."""

    devices: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    online: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.9
    """Share of the devices that are connected."""
    events_a_day: NotNegative = 2_000.0
    """Events of a device."""
    decisions_an_event: NotNegative = 0.1
    shared_broker: bool = False
    """Events and decisions go through the fleet's broker; else through one beside each agent."""
    words_a_day: NotNegative = 40.0
    """Messages of a device to the coordinator: status, report, rejection, alert."""
    rounds_a_day: NotNegative = 4.0
    cohort: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 100
    """Devices that a run is offered to and asks in each round (`train --where group:NAME`): all are online for as long
    as it lasts, so it does not grow with the fleet."""
    parameters: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 10_000
    """Shared ones of the bundle."""
    versions_a_day: NotNegative = 1.0
    """Versions that every device fetches."""
    bundle_bytes: Annotated[int, Meta(ge=1, le=10**12)] = 20_000
    versions_kept: Annotated[int, Meta(ge=1, le=1_000_000)] = 30
    join_days: Positive = 90.0
    """Within which the whole fleet comes in."""
    peak: Annotated[float, Meta(ge=1.0, le=1_000.0)] = 3.0
    """The busiest time over the mean."""
    reconnect_s: Positive = 300.0
    """Within which all devices are back after the broker was away."""
    round_s: Positive = 600.0
    """Within which a round must be done."""
    read_s: Positive = 10.0
    """For how long mosquitto may serve nobody while it reads its access list: what comes meanwhile gives up then."""


class Machine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One machine of the middle."""

    cores: Annotated[int, Meta(ge=1, le=1_024)] = 8
    memory_gib: Positive = 32.0
    network_mbit: Positive = 1_000.0
    utilisation: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.6
    """Share of a core, of memory or of the line that is used at the busiest time."""


class Part(Struct, frozen=True, kw_only=True):
    """What one part of the middle needs."""

    name: str
    cores: float
    """Busy at the peak."""
    memory_bytes: float
    bytes_s: float
    """In and out together, at the peak."""
    storage_bytes: float
    cores_max: int
    """Cores that one instance can use at all."""
    full_at: int | None
    """Devices at which one instance on this machine is full, all else being equal; None: never by devices."""
    instances: int
    instead: str
    """What takes its place, or joins it, where one instance is full; empty: one is enough."""
    built: bool
    """Whether edgeward has what `instead` says, or works with it as it is."""


class Plan(Struct, frozen=True, kw_only=True):
    """What a fleet needs."""

    devices: int
    parts: tuple[Part, ...]
    machines: int
    bottleneck: str
    """The part whose one instance is full first."""
    device_core_share: float
    """Of a core of each device, for its events and decisions at the peak, at the measured machine's speed."""
    round_s: float
    """The shortest time of a round on as many SuperLinks as are planned."""
    read_s: float
    """For how long mosquitto serves nobody as it reads its access list for a newcomer; 0: a cluster takes its place."""
    rights_s: float
    """How long a newcomer waits for that at most."""
    bytes_a_device_day: float
    """Through the coordinator's line: words, rounds, bundles."""


def parse(text: str) -> tuple[Costs, dict[str, Cost]]:
    """The costs of a `costs.toml`, and where each comes from.

    Raises:
        CapacityInvalid: not TOML, a cost is missing or unknown, or a value is not a positive number.
    """
    try:
        listed = msgspec.convert(tomllib.loads(text), type=dict[str, Cost])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise CapacityInvalid(f"the table of costs cannot be read: {error}", hint=_HINT) from error
    wanted = set(Costs.__struct_fields__)
    if missing := sorted(wanted - set(listed)):
        raise CapacityInvalid(f"no cost `{missing[0]}`", hint=_HINT)
    if unknown := sorted(set(listed) - wanted):
        raise CapacityInvalid(f"there is no cost `{unknown[0]}`", hint=_HINT)
    if odd := sorted(name for name, cost in listed.items() if not math.isfinite(cost.value)):
        raise CapacityInvalid(f"the cost `{odd[0]}` is no number", hint=_HINT)
    return Costs(**{name: cost.value for name, cost in listed.items()}), listed


_HINT = "measure it here: python -m tests.benchmarks.capacity --write FILE, in a checkout"


def plan(demand: Demand, costs: Costs, machine: Machine) -> Plan:
    """What the fleet needs at its busiest time."""
    broker = _broker(demand, costs, machine)
    read_s = costs.mosquitto_read_s * demand.devices**2 if broker.instances == 1 else 0.0
    parts = (
        broker,
        _enrolment(demand, costs, machine),
        *_coordinator(demand, costs, machine),
        *_versions(demand, costs, machine),
    )
    finite = [part for part in parts if part.full_at is not None]
    first = min(finite, key=lambda part: part.full_at or 0, default=parts[0])
    links = next(part.instances for part in parts if part.name == "SuperLink")
    event_s = costs.agent_event_s + demand.decisions_an_event * costs.agent_decision_s
    return Plan(
        devices=demand.devices,
        parts=parts,
        machines=_machines(parts, machine),
        bottleneck=first.name,
        device_core_share=demand.events_a_day / DAY_S * demand.peak * event_s,
        round_s=_asked(demand) * costs.superlink_round_s / links,
        read_s=read_s,
        rights_s=read_s / READ_SHARE,
        bytes_a_device_day=_bytes_a_device_day(demand),
    )


def _broker(demand: Demand, costs: Costs, machine: Machine) -> Part:
    """The fleet's broker: connections, messages, everybody's return after it was away, and mosquitto's access list.

    It reads that list as devices come in, serves nobody meanwhile, and needs four times as long for twice as many
    (ADR 0074). A cluster has none.
    """
    connected = demand.devices * demand.online
    messages_s = demand.devices * messages_a_day(demand) / DAY_S * demand.peak
    cores = messages_s * costs.mosquitto_message_s + connected * costs.mosquitto_connect_s / demand.reconnect_s
    memory_bytes, bytes_s = connected * costs.mosquitto_connection_bytes, 2 * messages_s * MESSAGE_BYTES
    joins_s = _joins_s(demand)

    def reading(devices: int) -> tuple[float, float]:
        """For how long it reads, and the share of the time that it does."""
        read_s = costs.mosquitto_read_s * devices**2
        return read_s, min(READ_SHARE, joins_s * devices / demand.devices * read_s)

    def fits(devices: int) -> bool:
        """Whether one mosquitto does for so many."""
        read_s, share = reading(devices)
        times = devices / demand.devices
        needed = cores * times + share, _others(machine, memory_bytes, bytes_s) * times, read_s / demand.read_s
        return max(needed) <= machine.utilisation

    full_at = _last(fits)
    alone = demand.devices <= full_at
    return _part(
        demand,
        machine,
        name="broker",
        cores=cores + reading(demand.devices)[1] if alone else cores,
        cores_max=1,
        memory_bytes=memory_bytes,
        bytes_s=bytes_s,
        storage_bytes=demand.devices * 2 * MESSAGE_BYTES,
        instead="a cluster (EMQX, VerneMQ, HiveMQ) in the place of mosquitto",
        built=True,
        at_least=CLUSTER_MIN,
        node_cores=machine.cores,
        full_at=full_at,
    )


def _last(fits: Callable[[int], bool]) -> int:
    """The largest number that fits, where none above it does."""
    low, high = 0, 1
    while fits(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def messages_a_day(demand: Demand) -> float:
    """Of a device, through the fleet's broker."""
    told = demand.words_a_day + demand.versions_a_day + demand.rounds_a_day * _asked(demand) / demand.devices
    shared = demand.events_a_day * (1 + demand.decisions_an_event) if demand.shared_broker else 0.0
    return told + shared


def _coordinator(demand: Demand, costs: Costs, machine: Machine) -> tuple[Part, ...]:
    """Who hears the fleet, and what rounds need."""
    per_s = demand.peak / DAY_S
    words_s = demand.devices * demand.words_a_day * per_s
    rounds_s = demand.rounds_a_day * _asked(demand) * per_s
    link = _link(demand, costs, machine)
    return (
        _part(
            demand,
            machine,
            name="listener",
            cores=words_s * costs.listener_word_s,
            cores_max=1,
            memory_bytes=100e6,
            bytes_s=words_s * MESSAGE_BYTES,
            storage_bytes=demand.devices * costs.listener_device_bytes,
            instead="several coordinators, each with a part of the fleet",
            built=True,
        ),
        link,
        _part(
            demand,
            machine,
            name="door",
            cores=rounds_s * costs.door_round_s,
            cores_max=1,
            memory_bytes=100e6,
            bytes_s=rounds_s * _round_bytes(demand),
            storage_bytes=0.0,
            instead="one beside each SuperLink",
            built=True,
            instances_min=link.instances,
            by_devices=_asked(demand) < demand.cohort,
        ),
        _part(
            demand,
            machine,
            name="aggregation",
            cores=demand.rounds_a_day * per_s * _asked(demand) * demand.parameters * costs.combine_parameter_s,
            cores_max=1,
            memory_bytes=_asked(demand) * demand.parameters * COMBINE_BYTES,
            bytes_s=0.0,
            storage_bytes=0.0,
            instead="smaller cohorts: what a round learns grows slowly with its size",
            built=True,
            by_devices=_asked(demand) < demand.cohort,
        ),
    )


def _versions(demand: Demand, costs: Costs, machine: Machine) -> tuple[Part, ...]:
    """What new versions need: the registry that they are fetched from, and the rollouts that bring them out."""
    fetches_s = demand.devices * demand.versions_a_day * demand.peak / DAY_S
    fetch_s = costs.door_fetch_s + demand.bundle_bytes / 2**20 * costs.door_mib_s
    return (
        _part(
            demand,
            machine,
            name="registry",
            cores=fetches_s * fetch_s,
            cores_max=1,
            memory_bytes=100e6,
            bytes_s=fetches_s * demand.bundle_bytes,
            storage_bytes=demand.versions_kept * demand.bundle_bytes,
            instead="an object store or CDN that holds the registry's files",
            built=True,
        ),
        _part(
            demand,
            machine,
            name="rollout",
            cores=demand.devices * demand.versions_a_day * costs.rollout_device_s * demand.peak / DAY_S,
            cores_max=1,
            memory_bytes=demand.devices * costs.rollout_device_bytes,
            bytes_s=0.0,
            storage_bytes=demand.devices * costs.rollout_device_bytes,
            instead="several coordinators, each with a part of the fleet",
            built=True,
        ),
    )


def _enrolment(demand: Demand, costs: Costs, machine: Machine) -> Part:
    """Devices come in: a process of Flower's each, and a look at all who are there."""
    joins_s = _joins_s(demand)
    rate, base, more = joins_s / demand.devices, costs.enrol_s, costs.enrol_known_s
    # Busy cores grow with the square of the fleet: rate * n * (base + more * n). Full where that is what may be used.
    may = machine.utilisation * machine.cores
    return _part(
        demand,
        machine,
        name="enrolment",
        cores=joins_s * (base + more * demand.devices),
        cores_max=machine.cores,
        node_cores=machine.cores,
        memory_bytes=0.0,
        bytes_s=0.0,
        storage_bytes=demand.devices * ENROLMENT_BYTES,
        instead="several coordinators, each with a part of the fleet",
        built=True,
        full_at=int((math.sqrt(base**2 + 4 * more * may / rate) - base) / (2 * more)),
    )


def _joins_s(demand: Demand) -> float:
    """Devices that come in, a second."""
    return demand.devices / (demand.join_days * DAY_S) * demand.peak


def _link(demand: Demand, costs: Costs, machine: Machine) -> Part:
    """Flower's SuperLink: one process, one SQLite file; as many as rounds need to end in time."""
    asked = _asked(demand)
    rounds_s = demand.rounds_a_day * asked / DAY_S * demand.peak
    needed = max(
        rounds_s * costs.superlink_round_s,
        asked * costs.superlink_round_s / demand.round_s,
        asked * costs.superlink_call_s / CALL_S_MAX,
    )
    return _part(
        demand,
        machine,
        name="SuperLink",
        cores=needed if demand.rounds_a_day else 0.0,
        cores_max=1,
        memory_bytes=250e6 + _asked(demand) * demand.parameters * (MODEL_BYTES + UPDATE_BYTES),
        bytes_s=rounds_s * _round_bytes(demand),
        storage_bytes=_asked(demand) * demand.parameters * (MODEL_BYTES + UPDATE_BYTES),
        instead="several coordinators, each with its SuperLink; joining their sums is not built",
        built=False,
        by_devices=_asked(demand) < demand.cohort,
    )


def _asked(demand: Demand) -> float:
    return min(demand.cohort, max(1.0, demand.devices * demand.online))


def _round_bytes(demand: Demand) -> float:
    return demand.parameters * (MODEL_BYTES + UPDATE_BYTES)


def _bytes_a_device_day(demand: Demand) -> float:
    taking_part = demand.rounds_a_day * _asked(demand) / demand.devices
    return (
        messages_a_day(demand) * MESSAGE_BYTES
        + taking_part * _round_bytes(demand)
        + demand.versions_a_day * demand.bundle_bytes
    )


def _part(
    demand: Demand,
    machine: Machine,
    *,
    name: str,
    cores: float,
    cores_max: int,
    memory_bytes: float,
    bytes_s: float,
    storage_bytes: float,
    instead: str,
    built: bool,
    at_least: int = 2,
    node_cores: int = 1,
    instances_min: int = 1,
    full_at: int | None = None,
    by_devices: bool = True,
) -> Part:
    """One part, and how many instances of it are needed.

    Args:
        at_least: instances once one is not enough.
        node_cores: what one of several can use: a node of a cluster all of its machine's.
        full_at: where what it needs is not in proportion to the fleet; one instance does until then.
        by_devices: whether what it needs grows with the fleet.
    """
    others = _others(machine, memory_bytes, bytes_s)
    share = max(cores / min(cores_max, machine.cores), others)
    wanted = share / machine.utilisation
    many = max(cores / node_cores, others)
    is_enough = wanted <= 1.0 if full_at is None else demand.devices <= full_at
    instances = 1 if is_enough else max(at_least, math.ceil(many / machine.utilisation))
    return Part(
        name=name,
        cores=cores,
        memory_bytes=memory_bytes,
        bytes_s=bytes_s,
        storage_bytes=storage_bytes,
        cores_max=cores_max,
        full_at=int(demand.devices / wanted) if full_at is None and by_devices and wanted > 0.0 else full_at,
        instances=max(instances, instances_min),
        instead=instead if instances > 1 else "",
        built=built,
    )


def _others(machine: Machine, memory_bytes: float, bytes_s: float) -> float:
    """The larger share of a machine's memory and line."""
    return max(memory_bytes / (machine.memory_gib * 2**30), bytes_s * 8 / (machine.network_mbit * 1e6))


def _machines(parts: tuple[Part, ...], machine: Machine) -> int:
    """Machines that hold all instances, several on one where they fit; a cluster's nodes stand on their own."""
    cores = sum(part.cores for part in parts)
    memory = sum(part.memory_bytes for part in parts)
    network = sum(part.bytes_s for part in parts)
    shares = (
        cores / machine.cores,
        memory / (machine.memory_gib * 2**30),
        network * 8 / (machine.network_mbit * 1e6),
    )
    broker = next(part.instances for part in parts if part.name == "broker")
    return max(1, math.ceil(max(shares) / machine.utilisation), broker if broker >= CLUSTER_MIN else 1)
