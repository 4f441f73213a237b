"""The demo's steps, in the order a fleet would live them."""

import json
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from rich.console import Console

from demo.people import Person, Population, readings
from demo.stack import DemoFailed, Stack, call, call_json, wait_until
from demo.summary import AgentSummary, Latency, Summary, quantile
from demo.view import View
from demo.wire import Wire
from firmware_configs.messages import Request

PROFILE = Path("firmware_configs/profiles/home-gateway.toml")
BUNDLE = "affinity"
EPOCHS = 2
"""On a device, each round: with so few people, more of them overfits the shared part."""
SUBJECT_PURPOSES = ["personalise", "improve-models"]
HOUSE_PURPOSES = ["comfort"]
HOUSEHOLD = "household"
PACE_S = 0.01
"""Between two events: a hundred a second over all homes, far above any real home's rate."""


@dataclass
class Story:
    """Everything that one run of the demo knows."""

    console: Console
    root: Path
    population: Population
    rounds: int
    room_readings: int
    seed: int
    stack: Stack
    started: float = field(default_factory=time.monotonic)
    endpoints: dict[str, str] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    decisions: dict[str, int] = field(default_factory=dict)
    feedback: dict[str, int] = field(default_factory=dict)
    last_pick: str = ""
    last_pick_device: str = ""

    @property
    def people(self) -> tuple[Person, ...]:
        return self.population.people

    @property
    def home(self) -> Path:
        return self.root / "coordinator"

    def state_dir(self, device: str) -> Path:
        return self.root / device

    def tell(self, text: str) -> None:
        """One heading for the next thing that happens."""
        self.console.print(f"[bold]{time.monotonic() - self.started:5.1f} s[/bold]  {text}")


def build_bundles(story: Story) -> list[Path]:
    """The first bundles: `context` from the zoo, `affinity` from everybody but the people of the demo."""
    out = story.root / "bundles"
    out.mkdir(parents=True, exist_ok=True)
    zoo = Path("models/zoo/bundles")
    found = sorted(zoo.glob("context-*.edgeward"))[-1:]
    if story.population.ratings is None:
        return [*found, *sorted(zoo.glob(f"{BUNDLE}-*.edgeward"))[-1:]]
    story.tell(f"training the first {BUNDLE} bundle on everyone but the {len(story.people)} people of this demo")
    excluded = ",".join(person.user for person in story.people)
    built = out / f"{BUNDLE}-1.0.0.edgeward"
    ratings = str(story.population.ratings)
    call("edge-models", "build", BUNDLE, "--ratings", ratings, "--exclude-users", excluded, "--out", str(built))
    return [*found, built]


def start_coordinator(story: Story, bundles: list[Path]) -> None:
    """Broker, SuperLink and registry come up; the first bundles are signed into the registry."""
    story.tell("starting broker, SuperLink (TLS, node authentication) and the signed registry")
    ready = story.root / "ready"
    story.stack.start("coordinator", ["edge-coordinator", "up", "--home", str(story.home), "--ready-file", str(ready)])

    def is_up() -> bool:
        story.stack.check()
        return ready.exists()

    wait_until(
        "coordinator",
        is_up,
        seconds=60,
        hint=f"read {story.stack.logs}/coordinator.log",
    )
    story.endpoints = json.loads((story.home / "endpoints.json").read_text())
    for path in bundles:
        call("edge-coordinator", "registry", "publish", str(path), "--home", str(story.home))


def start_agents(story: Story, bundles: list[Path]) -> None:
    """Each device makes its own key, is enrolled, and starts with nothing but its settings."""
    story.tell(f"enrolling and starting {len(story.people)} agents")
    for person in story.people:
        state = story.state_dir(person.device)
        state.mkdir(parents=True, exist_ok=True)
        call("edge-agent", "keys", "new", "--state-dir", str(state))
        call(
            "edge-coordinator",
            "nodes",
            "enrol",
            person.device,
            "--public-key",
            str(state / "node.pub"),
            "--home",
            str(story.home),
        )
        settings = state / "agent.toml"
        settings.write_text(_settings(story, person.device))
        story.stack.start(person.device, ["edge-agent", "run", "--settings", str(settings), "--profile", str(PROFILE)])
    versions = [path.name.removesuffix(".edgeward").rsplit("-", 1) for path in bundles]
    for name, version in versions:
        call("edge-coordinator", "deploy", name, version, "--home", str(story.home))


def _settings(story: Story, device: str) -> str:
    where = story.endpoints
    state = story.state_dir(device)
    return f"""# Written by the demo; every option is explained in firmware_configs/reference/agent.toml
device = "{device}"
state_dir = "{state}"
broker = {{ url = "{where["broker"]}" }}
registry = {{ url = "{where["registry"]}", ca = "{where["ca"]}", trusted_root = "{where["root"]}" }}
superlink = {{ address = "{where["superlink"]}", ca = "{where["ca"]}", node_key = "{state / "node.key"}" }}
"""


def wait_for_bundles(story: Story, wire: Wire, wanted: dict[str, str], seconds: float) -> None:
    """Until every home reports that it runs `wanted`."""

    def all_there() -> bool:
        story.stack.check()
        return all(_runs(wire, person.device, wanted) for person in story.people)

    hint = f"read the agents' logs in {story.stack.logs}"
    wait_until(f"every agent on {wanted}", all_there, seconds=seconds, hint=hint)


def _runs(wire: Wire, device: str, wanted: dict[str, str]) -> bool:
    word = wire.reported(device)
    if word is None:
        return False
    return all(
        name in word.bundles and word.bundles[name].version == version and word.bundles[name].state == "active"
        for name, version in wanted.items()
    )


def versions(story: Story, wire: Wire) -> dict[str, dict[str, str]]:
    """Device → bundle → version, as reported."""
    told = {person.device: wire.reported(person.device) for person in story.people}
    return {d: {n: b.version for n, b in word.bundles.items()} if word else {} for d, word in told.items()}


def live(story: Story, wire: Wire) -> None:
    """People consent, live their days, and the homes decide; the apps answer with feedback."""
    for person in story.people:
        wire.consent(person.device, person.user, SUBJECT_PURPOSES)
        wire.consent(person.device, HOUSEHOLD, HOUSE_PURPOSES)
    wait_until("consent", lambda: True, seconds=1, hint="")
    stream = list(_stream(story))
    story.tell(f"replaying {len(stream)} real events of {story.population.source} and Occupancy")
    with View(story.console, len(stream)).running() as view:
        for device, topic, payload in stream:
            wire.event(topic, payload, f"00-{view.sent + 1:032x}-{view.sent + 1:016x}-00")
            view.sent += 1
            story.events[device] = story.events.get(device, 0) + 1
            _react(story, wire, view)
            time.sleep(PACE_S)
        _settle(story, wire, view)


def _stream(story: Story) -> Iterator[tuple[str, str, dict[str, object]]]:
    """(device, topic, payload), homes in turn. Times are moved so that the last event is now; gaps stay."""
    now = time.time()
    room = readings(story.room_readings)
    lives = []
    for person in story.people:
        shift = now - person.lived[-1].time_s
        picks = [
            (
                person.device,
                f"home/{person.device}/interaction",
                {
                    "id": f"{person.device}-i{n}",
                    "user": row.user,
                    "item": row.item,
                    "time": row.time_s + shift,
                },
            )
            for n, row in enumerate(person.lived)
        ]
        sensed: list[tuple[str, str, dict[str, object]]] = [
            (
                person.device,
                f"home/{person.device}/room",
                {"id": f"{person.device}-r{n}", "time": now - 60 * (len(room) - n), **row},
            )
            for n, row in enumerate(room)
        ]
        lives.append([event for pair in zip_longest(picks, sensed) for event in pair if event is not None])
    for turn in zip_longest(*lives):
        yield from (event for event in turn if event is not None)


def _react(story: Story, wire: Wire, view: View) -> None:
    """Answer every decision that has come in: a pick that the person really took later is a click."""
    people = {person.device: person for person in story.people}
    while True:
        try:
            made, device, _ = wire.decisions.get_nowait()
        except queue.Empty:
            return
        outcome = ""
        if made.placement == "next-pick" and made.items:
            outcome = _answer(made.items[0], people[device])
            if outcome:
                wire.feedback(device, made, outcome)
                view.joined += 1
            story.last_pick, story.last_pick_device = made.id, device
        story.decisions[device] = story.decisions.get(device, 0) + 1
        view.decision(device, made, outcome)


def _answer(item: str, person: Person) -> str:
    """What the person did with a pick, as far as the replayed part of their life tells; held-out items: nothing."""
    if any(row.item == item for row in person.lived):
        return "click"
    return "" if item in person.held_out else "dismiss"


def _settle(story: Story, wire: Wire, view: View) -> None:
    """Wait until no new decision has come for a second."""
    quiet_since, seen = time.monotonic(), view.decided
    while time.monotonic() - quiet_since < 1.0:
        _react(story, wire, view)
        if view.decided != seen:
            quiet_since, seen = time.monotonic(), view.decided
        time.sleep(0.02)


def shelf(item: str, unseen: tuple[str, ...]) -> tuple[str, ...]:
    """What a held-out item is ranked among: itself and what its person never touched."""
    return tuple(sorted({*unseen, item}))


def hits(story: Story, wire: Wire, label: str) -> dict[str, int]:
    """HR@10: each home ranks every held-out item among the unseen ones, through its real decision path."""
    asked: dict[str, tuple[str, str]] = {}
    for person in story.people:
        for n, (item, unseen) in enumerate(zip(person.held_out, person.unseen, strict=True)):
            token = f"{label}-{person.device}-{n}"
            wire.ask(person.device, "shelf", token, Request(subject=person.user, items=shelf(item, unseen)))
            asked[token] = (person.device, item)
    hint = f"read the agents' logs in {story.stack.logs}"
    wait_until(f"{len(asked)} answers", lambda: all(wire.reply(t) for t in asked), seconds=20, hint=hint)
    found = dict.fromkeys((person.device for person in story.people), 0)
    for token, (device, item) in asked.items():
        answer = wire.reply(token)
        if answer is not None and answer.fallback:
            raise DemoFailed(f"{device} answered with its fallback ({answer.fallback})", hint=hint)
        found[device] += answer is not None and item in answer.items
    return found


def train(story: Story) -> dict[str, object]:
    """Federated rounds over Flower; the result is signed and rolled to every home."""
    story.tell(f"{story.rounds} federated rounds of {BUNDLE}; examples and personal parameters stay at home")
    done: dict[str, object] = call_json(
        "edge-coordinator",
        "train",
        BUNDLE,
        "--rounds",
        str(story.rounds),
        "--epochs",
        str(EPOCHS),
        "--minimum-reports",
        str(len(story.people)),
        "--secret-sum",  # the profile lets updates out in no other way
        "--home",
        str(story.home),
        seconds=150,
    )
    return done


def ledgers(story: Story) -> dict[str, dict[str, int]]:
    """Device → kind of egress → bytes, from each device's own ledger."""
    return {
        person.device: call_json("edge-agent", "ledger", "--state-dir", str(story.state_dir(person.device)))["bytes"]
        for person in story.people
    }


def joined(story: Story) -> dict[str, int]:
    """Device → feedback that found its decision, as the device counts it."""
    return {
        person.device: int(
            call_json("edge-agent", "status", "--state-dir", str(story.state_dir(person.device)))["counters"].get(
                "feedback.joined", 0
            )
        )
        for person in story.people
    }


def explain(story: Story) -> str:
    """One decision, told in words."""
    return call("edge-agent", "explain", story.last_pick, "--state-dir", str(story.state_dir(story.last_pick_device)))


def summarise(
    story: Story,
    wire: Wire,
    before: dict[str, dict[str, str]],
    hits_before: dict[str, int],
    hits_after: dict[str, int],
) -> Summary:
    """Put together what was seen; nothing here is computed twice from different places."""
    after, left, found = versions(story, wire), ledgers(story), joined(story)
    per_agent = {
        p.device: AgentSummary(
            user=p.user,
            events=story.events.get(p.device, 0),
            decisions=story.decisions.get(p.device, 0),
            feedback_joined=found[p.device],
            bundles_before=before[p.device],
            bundles_after=after[p.device],
            bytes_out=left[p.device],
            hits_before=hits_before[p.device],
            hits_after=hits_after[p.device],
            held_out=len(p.held_out),
        )
        for p in story.people
    }
    shelves = [shelf(*one) for p in story.people for one in zip(p.held_out, p.unseen, strict=True)]
    asked = len(shelves)
    first = story.people[0].device
    return Summary(
        ok=True,
        data=story.population.source,
        seed=story.seed,
        seconds=round(time.monotonic() - story.started, 1),
        agents=len(story.people),
        events=sum(story.events.values()),
        decisions=sum(story.decisions.values()),
        decision_latency_ms=Latency(
            p50=round(quantile(wire.latencies_ms, 0.5), 3),
            p99=round(quantile(wire.latencies_ms, 0.99), 3),
            samples=len(wire.latencies_ms),
        ),
        feedback_joined=sum(found.values()),
        rounds=story.rounds,
        bundle=BUNDLE,
        version_before=before[first].get(BUNDLE, ""),
        version_after=after[first].get(BUNDLE, ""),
        hit_rate_before=sum(hits_before.values()) / asked,
        hit_rate_after=sum(hits_after.values()) / asked,
        hit_rate_chance=round(sum(min(1.0, 10 / len(one)) for one in shelves) / asked, 4),
        hit_rate_protocol=f"HR@10, {len(story.people[0].unseen[0])} unseen, n = {asked}, seed {story.seed}",
        bytes_out={
            kind: sum(own.get(kind, 0) for own in left.values())
            for kind in sorted({k for o in left.values() for k in o})
        },
        per_agent=per_agent,
        explained=story.last_pick,
    )
