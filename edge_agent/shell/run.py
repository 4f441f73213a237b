"""The loop: one thread that drains the broker, steps the agent, commits, acknowledges, publishes, and tends children.

It is kept too dull to hold a bug: what to do is decided in `agent.step`, how to do it in the modules that this one
calls. A message is acknowledged only after the commit that holds its effects.
"""

import math
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

import msgspec
from msgspec import Struct

from edge_agent import __version__
from edge_agent.agent import Agent, step
from edge_agent.doors import Doors
from edge_agent.effects import Answer, Effect, Fetch, Log, Post, Switch, Train
from edge_agent.errors import StoreCorrupt
from edge_agent.happenings import (
    Connected,
    EgressAsked,
    Happening,
    Tick,
)
from edge_agent.limits import DAY_MS
from edge_agent.settings import Broker, Settings
from edge_agent.shell import database, readings, slots
from edge_agent.shell.client import Will
from edge_agent.shell.clock import (
    Watch,
    local_hours,
    local_times,
    monotonic_ns,
    monotonic_s,
    wall_ms,
    wall_ns,
    zoned_times,
)
from edge_agent.shell.errands import Errands
from edge_agent.shell.facts import FactsPorthole
from edge_agent.shell.lags import Lags
from edge_agent.shell.line import Arrived, Line
from edge_agent.shell.mqtt import Link
from edge_agent.shell.outgoing import Outgoing
from edge_agent.shell.pages import release_code
from edge_agent.shell.relief import Relief
from edge_agent.shell.say import Say, Tell
from edge_agent.shell.shelf import BundleShelf
from edge_agent.shell.store import Store
from edge_agent.shell.sweep import SWEEP_ROWS
from edge_agent.shell.timeline import Timeline, Times
from edge_agent.shell.vigil import Vigil
from edge_agent.shell.vitals import Porthole
from edge_agent.shell.wish import Wishes, waiting
from edge_agent.shell.writes import Writes
from edge_agent.timings import Timings, Untimed
from firmware_configs.loader import Loaded
from firmware_configs.messages import JSON, MSGPACK, Topics
from firmware_configs.notify import notify

TICK_S = 1.0
RENEW_LATE_SHARE = 0.1
"""Of `memory_hours_max`: how much later it may be for the sake of a child at work."""
RELEASE_S = 1.0
"""How long after the start the code is let go that only the start needed."""
SWEEP_S = 5.0
SWEEP_BUSY_S = 0.1
"""How soon the next sweep comes when one found as much as it looks at: deleting keeps up with what comes."""
RECEIPT_S = 0.02
"""How long the broker's receipts wait for a transaction to ride with."""
PACED_WAIT_S = 0.05
"""How soon a paced backlog is looked at again."""
WAIT_DOWN_S = 0.05
"""Longest wait while the line is being made."""
STOP_S = 1.0
RESTORED = ("consent", "dedupe", "due", "identity", "meta", "watermark")


class Outside(Struct, frozen=True, kw_only=True):
    """What the loop touches of the world; the simulator gives it another one."""

    store: Callable[[Path, int], Store] = Store
    link: Callable[[Broker, str, Will | None, Callable[[], int], Callable[[], None]], Line] = Link
    wall_ms: Callable[[], int] = wall_ms
    monotonic_s: Callable[[], float] = monotonic_s


class Loop:
    """One running agent."""

    _due_renew_s = math.inf
    """When the process replaces itself, so that nothing that was dropped stays in its memory for longer."""

    def __init__(self, settings: Settings, loaded: Loaded, outside: Outside | None = None) -> None:
        """Open the store and take up where it stands.

        Args:
            outside: line, file and clocks; None: this machine's.
        Raises:
            StoreError, SettingsError: it cannot start; nothing was changed.
        """
        self.settings, self.loaded = settings, loaded
        self._state_dir = Path(settings.state_dir)
        self._wishes = Wishes(self._state_dir)
        self.say: Tell = Say(settings.log, settings.device)
        outside = outside or Outside()
        self._monotonic_s = outside.monotonic_s
        self.store = outside.store(self._database(), loaded.profile.device.disk_mib_max)
        self._timeline = Timeline(outside.wall_ms, outside.monotonic_s, self.store.meta("clock"))
        self.now_ms = self._timeline.now_ms
        self.shelf = BundleShelf(settings, loaded.profile)
        self.lags = Lags()
        self.timings = _timings(settings)
        chosen = slots.read(self._state_dir)
        doors = Doors(
            secret=self.store.secret,
            recall=self.store.recall,
            holds=self.store.holds,
            home_key=settings.home_key,
            models=self.shelf.active,
            over_budget=Watch(self._monotonic_s).over_budget,
            local_hour=local_hours(settings.timezone),
            zoned=zoned_times(settings.timezone),
            local_ms=local_times(settings.timezone),
            coordinator=settings.coordinator,
            home_assistant=settings.home_assistant,
            readings=lambda: readings.read(settings.readings),
            trials=self.shelf.trials,
            clock=self._monotonic_s,
            lags=self.lags.told,
            documents={
                **chosen.active.documents,
                "profile": f"{loaded.profile.name}-{loaded.profile.version}",
            },
            given_up=chosen.given_up,
            seal=lambda: self.errands.seals.newest,
            timings=self.timings,
        )
        self.agent = Agent(loaded, settings.device, doors, record=settings.record)
        self.agent.restore(self.store.rows(self._rooms(), self.now_ms() // DAY_MS * DAY_MS), self.now_ms())  # type: ignore[arg-type]
        self._vigil = Vigil()
        self.link = outside.link(settings.broker, settings.device, self._will(), self.now_ms, self._vigil.wake)
        self.link.settled_ms = lambda: self._timeline.settled_ms
        self.errands = Errands(settings, loaded.profile, self.shelf, self.say, self.store.path)
        self.errands.profile_path = loaded.path
        self.errands.settled_ms = lambda: self._timeline.settled_ms
        self.errands.is_wanted = self.agent.control.is_wanted
        self.errands.take_up(self.store.recall, self.agent.trials.is_tried)
        self.agent.models_changed()
        self._relief = Relief(settings, loaded, self.agent)
        self._critical = frozenset(source.name for source in loaded.profile.source if source.critical)
        self._unacknowledged: list[Arrived] = []
        self._outgoing = Outgoing(self.store, self.link)
        self._due_tick_s = self._due_sweep_s = 0.0
        self._due_receipt_s = self._due_release_s = math.inf
        self._told_fault = ""
        self._portholes: tuple[Porthole, ...] = ()
        self.events_before = self.agent.counters.get("events", 0)
        self.stopping = self.renewing = False
        self.unfulfilled: frozenset[str] = frozenset()
        """Erasures that could not be done at this start; the next one tries again."""
        self._due_confirm_s = self._monotonic_s() + slots.CONFIRM_S if chosen.state == "trying" else math.inf

    def _rooms(self) -> tuple[str, ...]:
        """Rooms that are read at the start; of the others a row is recalled when it is needed."""
        return RESTORED if self.agent.reach is None else (*RESTORED, "delivery", "letter")

    def _database(self) -> Path:
        """The database's path; one that was found damaged is replaced by all that can be read of it."""
        path = self._state_dir / database.FILE
        if self.settings.salvage and database.suspect(path).exists():
            from edge_agent.shell.salvage import DAMAGED, salvage

            taken = salvage(path, database.pages(self.loaded.profile.device.disk_mib_max))
            rows = ", ".join(f"{count} of {table}" for table, count in taken.items())
            self.say("error", StoreCorrupt.code, f"{path.name} was damaged; now in {path.name}{DAMAGED}; rows: {rows}")
        return path

    def _will(self) -> Will | None:
        if self.agent.gate.ledger.declared("status") is None:
            return None
        return Will(
            topic=Topics(self.settings.device).of("status"),
            payload=self.agent.gate.last_will,
            content_type=JSON if self.settings.home_assistant else MSGPACK,
        )

    def run(self) -> None:
        """Until SIGTERM or SIGINT.

        Raises:
            StoreError: the database is damaged; what was acknowledged before is in it.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._portholes = (Porthole(self._state_dir), FactsPorthole(self._state_dir))
        self.say(
            "info", "start", f"edge-agent {__version__}, profile {self.loaded.profile.name} {self.loaded.hash[:12]}"
        )
        notify("READY=1")
        self._due_release_s = self._monotonic_s() + RELEASE_S
        if self.settings.memory_hours_max:
            self._due_renew_s = self._monotonic_s() + self.settings.memory_hours_max * 3_600
        try:
            while not self.stopping:
                if not self.turn():
                    self._wait()
            self._step([Tick()], [], self._monotonic_s())  # what was counted since the last one
        finally:
            notify("STOPPING=1")
            self.close()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True
        self._vigil.wake()

    def close(self) -> None:
        """Leave in order: the broker says goodbye for us, children end, the log is folded back."""
        for porthole in self._portholes:
            porthole.close()
        self.link.close(STOP_S)
        self.errands.children.stop(STOP_S / 2)
        self.shelf.deaths.close()
        self._vigil.close()
        if (fault := self.store.close()) is not None:
            self.say("warning", fault.code, fault.what)
        self.say("info", "stop", "stopped")

    def turn(self) -> bool:
        """Once round: what is there, one step, one commit, then everything that follows from it.

        Returns:
            Whether a batch was full, so that more is there than the system would wake us for.
        """
        now_s = self._monotonic_s()
        self.link.tend(now_s)
        if self.link.fault is not None or self._told_fault or self.link.refused:
            self._tell_line()
        reading = self.timings.mark()
        arrived = [] if self.store.overflowing else self.link.drain(self.settings.batch_max)
        if arrived:
            self.timings.since("read", reading)
        # Bundles first: what they say is true for the messages of this turn already.
        happenings = self.errands.take_news(now_s)
        if self.link.greeted is not None:
            happenings += self._line_news(self.link.greeted)
        happenings += self._relief.kept(arrived)
        if now_s >= self._due_tick_s:
            self._due_tick_s = now_s + TICK_S
            happenings.append(Tick())
            happenings += self._wishes.take()
            if not self.unfulfilled.issuperset(waiting(self._state_dir)):
                # Somebody is to be erased: the next start does it before anything is read (docs/adr/0051).
                self.stopping = self.renewing = True
            notify("WATCHDOG=1")
            for porthole in self._portholes:
                porthole.answer(self)
            if self._is_old(now_s):
                self.say("info", "memory", "this process has lived for memory_hours_max; the next one takes over")
                self.stopping = self.renewing = True
        if happenings or self._is_receipt_due(now_s):
            self._step(happenings, arrived, now_s)
            self._wishes.stepped()
        if self._outgoing.waiting or self.link.wants_write:
            self._hand_over(now_s, self.timings.mark())
        self.errands.start_next(now_s)
        if self.errands.renewed:
            self.stopping = self.renewing = True
        if now_s >= self._due_sweep_s:
            self._sweep(now_s)
        return len(arrived) >= self.settings.batch_max

    @property
    def unacknowledged(self) -> int:
        """Messages of the broker whose effects could not be committed yet."""
        return len(self._unacknowledged)

    def _is_old(self, now_s: float) -> bool:
        """Whether it is time for the next process; a child at work is waited for, but not for ever.

        What waits in memory for a medium that takes nothing would be lost, so that is waited for in any case.
        """
        if now_s < self._due_renew_s or self.store.degraded:
            return False
        late_s = self.settings.memory_hours_max * 3_600 * RENEW_LATE_SHARE
        return not self.errands.children.running or now_s >= self._due_renew_s + late_s

    def _hand_over(self, now_s: float, began: int) -> None:
        """What may go, to the socket; and how long it took to get there, from `began` on, ns of `timings`."""
        self._outgoing.pump(now_s)
        self.link.flush()
        if rows := self._outgoing.handed_over:
            self.timings.since("publish", began)
            self.timings.handed_over((row[7] for row in rows), began)
            self.lags.handed_over(rows, self.now_ms(), self._monotonic_s())
            rows.clear()

    def _step(self, happenings: list[Happening], arrived: list[Arrived], now_s: float) -> None:
        times = self._timeline.read()
        if times.jump_ms:
            self._tell_jump(times)
        effects = step(self.agent, happenings, times.now_ms, times.settled_ms)
        writes = Writes(delivered=self.link.delivered)
        self.link.delivered, self._due_receipt_s = [], math.inf
        others = writes.add(effects)
        fresh = list(writes.outbox.values())
        durable = (
            self._is_durable(arrived)
            or (self.agent.reach is not None and self.agent.reach.openings.counted)
            # What a child sends at once must stand in the ledger also after a pulled plug.
            or any(type(one) is EgressAsked for one in happenings)
        )
        was, began = self.store.degraded, self.timings.mark()
        committed = self._commit(writes, durable=durable)
        self.timings.since("commit", began)
        if (committed and not was) or (not (committed or durable) and self.store.is_entered):
            self._outgoing.add(fresh)
        self.lags.expect(writes.signals, now_s)
        began = self.timings.mark()
        self._outgoing.pump(self._monotonic_s())
        if committed:
            self.link.acknowledge([*self._unacknowledged, *arrived])
            self._unacknowledged = []
        else:
            # What is critical comes again after a crash; the rest goes on in memory.
            self.link.acknowledge(one for one in arrived if not self._is_durable([one]))
            self._unacknowledged += [one for one in arrived if self._is_durable([one])]
        self._hand_over(self._monotonic_s(), began)  # decisions and acknowledgements in one writing
        for effect in others:
            self._perform(effect)

    def _commit(self, writes: Writes, *, durable: bool = False) -> bool:
        """Write a transaction. The first that works again brings along what waited in memory, which then may leave."""
        was = self.store.degraded
        committed = self.store.commit(writes, durable=durable)
        if was or self.store.degraded:
            self._tell_store(was)
        if committed and was:
            self._outgoing.rescan(paced=False)
        return committed

    def _is_receipt_due(self, now_s: float) -> bool:
        """Whether the broker's receipts have waited long enough for a transaction of their own.

        They ride with the next one for nothing. A crash before only sends again what the broker has already.
        """
        if self.link.delivered and self._due_receipt_s == math.inf:
            self._due_receipt_s = now_s + RECEIPT_S
        return now_s >= self._due_receipt_s

    def _is_durable(self, arrived: Iterable[Arrived]) -> bool:
        """Whether something here must be on the medium itself before it is acknowledged: critical events, consent."""
        route = self.agent.topics.route
        for one in arrived:
            found = route(one.message.topic)
            if found is not None and (
                found.door == "consent" or (found.door == "event" and found.name in self._critical)
            ):
                return True
        return False

    def _line_news(self, present: bool) -> list[Happening]:
        """After a connect: subscribe again, send what waits, and tell the agent whether our session was `present`."""
        self.link.greeted = None
        filters = self._filters()
        known = self.store.meta("subscriptions")
        stale = set(msgspec.json.decode(known, type=list[str])) - set(filters) if known else set()
        told = f"{self.settings.broker.url}{'' if present else ', new session'}"
        # Only then does the broker keep what is published for us.
        self.link.subscribe(filters, sorted(stale), lambda: self.say("info", "connected", told))
        self._commit(Writes(meta={"subscriptions": msgspec.json.encode(sorted(filters))}))
        self.store.drop_stale(self._timeline.settled_ms)
        self._outgoing.rescan(paced=True)
        self._unacknowledged = []  # an earlier line's messages come again
        return [Connected(session_present=present)]

    def _filters(self) -> dict[str, int]:
        own = Topics(self.settings.device)
        filters = {own.of(*parts): 1 for parts in (("feedback",), ("consent", "+"), ("request", "+"), ("desired",))}
        for source in self.loaded.profile.source:
            filters[source.topic.replace("{device}", self.settings.device)] = source.qos
        return filters

    def _perform(self, effect: Effect) -> None:
        """What is done besides storing and publishing."""
        match effect:
            case Answer():
                self.errands.answer(effect, degraded=bool(self.store.degraded))
            case Fetch():
                self.errands.fetch(effect)
            case Switch():
                self.errands.news.append(self.errands.switch(effect))
            case Post():
                self.errands.post(effect, degraded=bool(self.store.degraded))
            case Train():
                self.errands.train(effect, self.now_ms(), self._monotonic_s())
            case Log(level=level, code=code, text=text):
                self.say(level, code, text)
            case _:
                pass

    def _sweep(self, now_s: float) -> None:
        if now_s >= self._due_confirm_s:
            self._due_confirm_s = math.inf
            slots.confirm(self._state_dir)
        if not self.settings.record:  # a replay needs them all
            self.shelf.prune()
        kept = {model.name: model.examples_max for model in self.loaded.profile.model}
        self.errands.seals.tend(self._timeline.settled_ms, now_s)
        gone = self.store.sweep(self._timeline.settled_ms, kept, self.agent.longest_ms)
        self._due_sweep_s = now_s + (SWEEP_S if gone < SWEEP_ROWS else SWEEP_BUSY_S)
        if self._timeline.due:
            self._commit(Writes(meta={"clock": self._timeline.pack()}))
        if self.store.rows_evicted:
            self.agent.count("store.evicted", self.store.rows_evicted)
            self.store.rows_evicted = 0
        for name in ("evicted", "expired"):
            if count := getattr(self.store, name):
                setattr(self.store, name, 0)
                self.agent.count(f"outbox.{name}", count)

    def _tell_line(self) -> None:
        """Why there is no line, once for each reason."""
        fault = self.link.fault
        text = f"{fault.what}; fix: {fault.hint}" if fault is not None else ""
        if fault is not None and text != self._told_fault:
            self.say("warning", fault.code, text)
        self._told_fault = text
        while self.link.refused:
            refused = self.link.refused.pop()
            self.say("warning", refused.code, f"{refused.what}; fix: {refused.hint}")

    def _tell_jump(self, times: Times) -> None:
        self.agent.count("clock.jumps")
        waits = "; nothing is deleted by the new time before it has stood for a day" if self._timeline.held else ""
        self.say("warning", "clock", f"the wall clock jumped by {times.jump_ms / 1_000:+.0f} s{waits}")

    def _tell_store(self, was: str) -> None:
        if self.store.degraded and not was:
            self.agent.count("store.degraded")
            self.say(
                "error", "AGT301", f"{self.store.degraded}; going on in memory, critical events are not acknowledged"
            )
        elif was and not self.store.degraded:
            self.say("info", "store", "writing works again; nothing that was acknowledged is lost")

    def _wait(self) -> None:
        """Until something can happen."""
        now_s = self._monotonic_s()
        if now_s >= self._due_release_s:
            self._due_release_s = math.inf
            release_code()
        until_s = max(0.0, min(self._due_tick_s, self._due_receipt_s) - now_s)
        if self.errands.pressing or self.link.holds_messages:
            until_s = 0.0
        elif self.link.state != "up":
            until_s = min(until_s, WAIT_DOWN_S)
        elif self._outgoing.waiting and self.link.room > 0:
            until_s = min(until_s, PACED_WAIT_S)
        watched = self.errands.children.watched
        asked = {porthole.descriptor: porthole for porthole in self._portholes if porthole.descriptor >= 0}
        watched.update(dict.fromkeys(asked, False))
        ready = self._vigil.sleep(until_s, self.link.socket, self.link.wants_write, watched)
        for descriptor in asked.keys() & ready:
            asked[descriptor].answer(self)


def _timings(settings: Settings) -> Untimed:
    """As the settings want it."""
    wanted = settings.telemetry
    return Timings(monotonic_ns, wall_ns, wanted.trace_share) if wanted.timings else Untimed()
