"""The loop: one thread that drains the broker, steps the agent, commits, acknowledges, publishes, and tends children.

It is kept too dull to hold a bug: what to do is decided in `agent.step`, how to do it in the modules that this one
calls. A message is acknowledged only after the commit that holds its effects.
"""

import math
import os
import select
import signal
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

import msgspec
from msgspec import Struct

from edge_agent import __version__
from edge_agent.agent import Agent, step
from edge_agent.doors import Doors
from edge_agent.effects import Answer, Effect, Fetch, Log, Switch, Train
from edge_agent.errors import BundleUnavailable, ChildError, RoundRefused, SignatureRejected
from edge_agent.happenings import (
    BundleFailed,
    BundleReady,
    BundleStaged,
    BundleWithdrawn,
    Connected,
    EgressAsked,
    Happening,
    Learned,
    LearnerEnded,
    Tick,
)
from edge_agent.settings import Broker, Settings
from edge_agent.shell import database, wish
from edge_agent.shell.children import Child, Children
from edge_agent.shell.clock import Watch, local_hours, monotonic_s, wall_ms
from edge_agent.shell.mqtt import Arrived, Link, Will
from edge_agent.shell.notify import notify
from edge_agent.shell.outgoing import Outgoing
from edge_agent.shell.pipe import (
    AskEgress,
    EgressAnswer,
    Ended,
    Fetched,
    FetchTask,
    LearnTask,
    ToParent,
    TrainedReport,
)
from edge_agent.shell.say import Say
from edge_agent.shell.shelf import BundleShelf
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from firmware_configs.loader import Loaded
from firmware_configs.messages import MSGPACK, Status, Topics

TICK_S = 1.0
SWEEP_S = 5.0
RECEIPT_S = 0.02
"""How long the broker's receipts wait for a transaction to ride with."""
PACED_WAIT_S = 0.05
"""How soon a paced backlog is looked at again."""
WAIT_DOWN_S = 0.05
"""Longest wait while the line is being made."""
FETCH_S = 600.0
LEARN_GRACE_S = 30.0
FETCHES_MAX = 64
STOP_S = 1.0
RESTORED = ("consent", "dedupe", "meta", "watermark")
LEDGER_ROWS = 200_000
"""Ledger rows read at start: what was sent today counts against today's budgets."""


class Outside(Struct, frozen=True, kw_only=True):
    """What the loop touches of the world; the simulator gives it another one."""

    store: Callable[[Path, int], Store] = Store
    link: Callable[[Broker, str, Will | None, Callable[[], int], Callable[[], None]], Link] = Link
    wall_ms: Callable[[], int] = wall_ms
    monotonic_s: Callable[[], float] = monotonic_s


class Loop:
    """One running agent."""

    def __init__(self, settings: Settings, loaded: Loaded, outside: Outside | None = None) -> None:
        """Open the store and take up where it stands.

        Args:
            outside: line, file and clocks; None: this machine's.
        Raises:
            StoreError, SettingsError: it cannot start; nothing was changed.
        """
        self.settings, self.loaded = settings, loaded
        self._state_dir = Path(settings.state_dir)
        self.say = Say(settings.log, settings.device)
        outside = outside or Outside()
        self._wall_ms, self._monotonic_s = outside.wall_ms, outside.monotonic_s
        self.store = outside.store(Path(settings.state_dir) / database.FILE, loaded.profile.device.disk_mib_max)
        self.shelf = BundleShelf(settings, loaded.profile)
        doors = Doors(
            secret=self.store.secret,
            recall=self.store.recall,
            models=self.shelf.active,
            over_budget=Watch(self._monotonic_s).over_budget,
            local_hour=local_hours(settings.timezone),
            trials=self.shelf.trials,
            clock=self._monotonic_s,
        )
        self.agent = Agent(loaded, settings.device, doors, record=settings.record)
        self.agent.restore(self.store.rows(RESTORED, LEDGER_ROWS), self._wall_ms())  # type: ignore[arg-type]
        self._awake, self._waker = os.pipe()
        os.set_blocking(self._awake, False)
        os.set_blocking(self._waker, False)
        self.link = outside.link(settings.broker, settings.device, self._will(), self._wall_ms, self._wake)
        self.children = Children(lambda kind, line: self.say("info", kind, line))
        self._critical = frozenset(source.name for source in loaded.profile.source if source.critical)
        self._news: list[Happening] = self._load_bundles()
        self._unacknowledged: list[Arrived] = []
        self._fetches: deque[Fetch] = deque()
        self._outgoing = Outgoing(self.store, self.link)
        self._due_tick_s = self._due_sweep_s = 0.0
        self._due_receipt_s = math.inf
        self._poll = select.poll()
        self._poll_of: tuple[tuple[int, bool], dict[int, bool]] | None = None
        self._told_fault = ""
        self.stopping = False

    def _will(self) -> Will | None:
        if self.agent.gate.ledger.declared("status") is None:
            return None
        word = Status(device=self.settings.device, online=False, agent=__version__)
        return Will(
            topic=Topics(self.settings.device).of("status"), payload=msgspec.msgpack.encode(word), content_type=MSGPACK
        )

    def _wake(self) -> None:
        os.write(self._waker, b"!")

    def _load_bundles(self) -> list[Happening]:
        """The bundles that served or were on trial, and the settings' own where there is none."""
        own = [BundleReady(name=model.name, version=model.version) for model in self.shelf.unsigned(self.settings)]
        declared = [model.name for model in self.loaded.profile.model]
        news: list[Happening] = [ready for ready in own if ready.name not in declared]
        news += self.shelf.take_up(declared, self.store.recall)
        for one in news:
            self._tell_bundle(one)
        self.agent.models_changed()
        return news

    def _tell_bundle(self, news: Happening) -> None:
        match news:
            case BundleReady(name=name, version=version, reason=reason):
                self.say("info", "bundle", f"{name} {version} is active{f': {reason}' if reason else ''}")
            case BundleStaged(name=name, version=version, stage=stage):
                self.say("info", "bundle", f"{name} {version} is on trial ({stage})")
            case BundleWithdrawn(name=name, version=version, reason=reason):
                self.say("warning", "bundle", f"{name} {version} gives way: {reason}")
            case BundleFailed(name=name, version=version, code=code, reason=reason):
                self.say("error", code, f"{name} {version}: {reason}")
            case _:
                pass

    def run(self) -> None:
        """Until SIGTERM or SIGINT.

        Raises:
            StoreError: the database is damaged; what was acknowledged before is in it.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self.say(
            "info", "start", f"edge-agent {__version__}, profile {self.loaded.profile.name} {self.loaded.hash[:12]}"
        )
        notify("READY=1")
        try:
            while not self.stopping:
                if not self.turn():
                    self._wait()
            self._step([Tick()], [])  # what was counted since the last one
        finally:
            notify("STOPPING=1")
            self.close()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True
        self._wake()

    def close(self) -> None:
        """Leave in order: the broker says goodbye for us, children end, the log is folded back."""
        self.link.close(STOP_S)
        self.children.stop(STOP_S / 2)
        if (fault := self.store.close()) is not None:
            self.say("warning", fault.code, fault.what)
        self.say("info", "stop", "stopped")

    def turn(self) -> bool:
        """Once round: what is there, one step, one commit, then everything that follows from it.

        Returns:
            Whether messages had come, so that more may be there.
        """
        now_s, asked = self._monotonic_s(), None
        self.link.tend(now_s)
        self._tell_line()
        arrived = [] if self.store.overflowing else self.link.drain(self.settings.batch_max)
        # Bundles first: what they say is true for the messages of this turn already.
        happenings = [*self._news, *self._children_news(now_s), *self._line_news(), *(one.message for one in arrived)]
        self._news = []
        if now_s >= self._due_tick_s:
            self._due_tick_s = now_s + TICK_S
            happenings.append(Tick())
            asked = wish.read(self._state_dir)
            if asked is not None:
                happenings.append(asked)
            notify("WATCHDOG=1")
        if happenings or self._is_receipt_due(now_s):
            self._step(happenings, arrived)
        if asked is not None:
            wish.granted(self._state_dir, asked)
        self._outgoing.pump(now_s)
        self.link.flush()
        self._start_fetch(now_s)
        if now_s >= self._due_sweep_s:
            self._sweep(now_s)
        return bool(arrived)

    def _step(self, happenings: list[Happening], arrived: list[Arrived]) -> None:
        effects = step(self.agent, happenings, self._wall_ms())
        writes = Writes(delivered=self.link.delivered)
        self.link.delivered = []
        writes.add(effects)
        fresh = list(writes.outbox.values())
        durable = self._is_durable(arrived)
        was = self.store.degraded
        committed = self.store.commit(writes, durable=durable)
        self._tell_store(was)
        if committed:
            self.link.acknowledge([*self._unacknowledged, *arrived])
            self._unacknowledged = []
        else:
            # What is critical comes again after a crash; the rest goes on in memory.
            self.link.acknowledge(one for one in arrived if not self._is_durable([one]))
            self._unacknowledged += [one for one in arrived if self._is_durable([one])]
        if committed and was:
            self._outgoing.rescan(paced=False)
        elif committed or not durable:
            self._outgoing.add(fresh)
        self._outgoing.pump(self._monotonic_s())
        self.link.flush()
        for effect in effects:
            self._perform(effect)

    def _is_receipt_due(self, now_s: float) -> bool:
        """Whether the broker's receipts have waited long enough for a transaction of their own.

        They ride with the next one for nothing. A crash before only sends again what the broker has already.
        """
        if not self.link.delivered:
            self._due_receipt_s = math.inf
        elif self._due_receipt_s == math.inf:
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

    def _line_news(self) -> list[Happening]:
        """After a connect: subscribe again, send what waits, and tell the agent."""
        if self.link.greeted is None:
            return []
        present, self.link.greeted = self.link.greeted, None
        filters = self._filters()
        known = self.store.meta("subscriptions")
        stale = set(msgspec.json.decode(known, type=list[str])) - set(filters) if known else set()
        self.link.subscribe(filters, sorted(stale))
        self.store.commit(Writes(meta={"subscriptions": msgspec.json.encode(sorted(filters))}), durable=False)
        self.store.drop_stale(self._wall_ms())
        self._outgoing.rescan(paced=True)
        self._unacknowledged = []  # an earlier line's messages come again
        self.say("info", "connected", f"{self.settings.broker.url}{'' if present else ', new session'}")
        return [Connected(session_present=present)]

    def _filters(self) -> dict[str, int]:
        own = Topics(self.settings.device)
        filters = {own.of(*parts): 1 for parts in (("feedback",), ("consent", "+"), ("request", "+"), ("desired",))}
        for source in self.loaded.profile.source:
            filters[source.topic.replace("{device}", self.settings.device)] = source.qos
        return filters

    def _children_news(self, now_s: float) -> list[Happening]:
        return [news for child, word in self.children.listen(now_s) for news in self._hear(child, word)]

    def _hear(self, child: Child, word: ToParent) -> list[Happening]:
        """A child's word as happenings."""
        task = child.task
        match word:
            case AskEgress():
                return [EgressAsked(**{name: getattr(word, name) for name in EgressAsked.__struct_fields__})]
            case TrainedReport():
                return [Learned(**{name: getattr(word, name) for name in Learned.__struct_fields__})]
            case Fetched(name=name, version=version):
                to = task.to if isinstance(task, FetchTask) else "full"
                return [self._switch(Switch(name=name, version=version, to=to))]
            case Ended(code=code, reason=reason) if isinstance(task, LearnTask):
                if code:
                    self.say("warning", code, f"round {task.run}: {reason}")
                return [LearnerEnded(run=task.run, code=code, reason=reason)]
            case Ended(code=code, reason=reason) if isinstance(task, FetchTask) and code:
                self.say("warning", code, f"{task.name} {task.version}: {reason}")
                return [BundleFailed(name=task.name, version=task.version, code=code, reason=reason)]
            case _:
                return []

    def _switch(self, asked: Switch) -> Happening:
        said = self.shelf.switch(asked)
        self._tell_bundle(said)
        return said

    def _perform(self, effect: Effect) -> None:
        """What is done besides storing and publishing."""
        match effect:
            case Answer(token=token, granted=granted, reason=reason):
                self.children.answer(EgressAnswer(token=token, granted=granted, reason=reason))
            case Fetch():
                if len(self._fetches) < FETCHES_MAX:
                    self._fetches.append(effect)
            case Switch():
                self._news.append(self._switch(effect))
            case Train():
                self._train(effect)
            case Log(level=level, code=code, text=text):
                self.say(level, code, text)
            case _:
                pass

    def _start_fetch(self, now_s: float) -> None:
        if not self._fetches or self.children.busy("updater"):
            return
        fetch = self._fetches.popleft()
        registry = self.settings.registry
        url = registry.url or fetch.registry
        if not self.shelf.ensure_trust(registry.trusted_root):
            code, reason = SignatureRejected.code, "this device was given no trusted root (registry.trusted_root)"
            self.say("warning", code, reason)
            self._news.append(BundleFailed(name=fetch.name, version=fetch.version, code=code, reason=reason))
            return
        task = FetchTask(
            name=fetch.name,
            version=fetch.version,
            registry=url,
            ca=registry.ca,
            trust_dir=str(self.shelf.trust),
            bundles_dir=str(self.shelf.folder),
            backend=self.shelf.backends.get(fetch.name, "onnx"),
            to=fetch.to,
            memory_mib=self.loaded.profile.device.memory_mib_max,
        )
        try:
            self.children.start("updater", task, now_s + FETCH_S)
        except ChildError as error:
            code = BundleUnavailable.code
            self._news.append(BundleFailed(name=fetch.name, version=fetch.version, code=code, reason=error.what))

    def _train(self, train: Train) -> None:
        """Start the learner, or say why not."""
        link = self.settings.superlink
        model = self.shelf.active.get(train.bundle)
        reason = ""
        if not link.node_key:
            reason = "this device has no node key (superlink.node_key)"
        elif model is None or model.version != train.version:
            reason = f"{train.bundle} {train.version} does not run here"
        elif self.children.busy("learner"):
            reason = "a learner is still at work"
        if reason or model is None:
            self._news.append(LearnerEnded(run=train.run, code=RoundRefused.code, reason=reason))
            return
        egress = self.agent.gate.ledger.declared("update")
        privacy = egress.privacy if egress is not None else None
        declared = next(m for m in self.loaded.profile.model if m.name == train.bundle)
        task = LearnTask(
            device=self.settings.device,
            run=train.run,
            bundle=train.bundle,
            version=train.version,
            path=model.path,
            database=str(self.store.path),
            superlink=link.address or train.superlink,
            ca=link.ca,
            node_key=link.node_key,
            app_hash=train.app_hash,
            closes_ms=train.closes_ms,
            subjects=train.subjects,
            examples_max=declared.examples_max,
            clip_norm=privacy.clip_norm if privacy else 1.0,
            noise_multiplier=privacy.noise_multiplier if privacy else 0.0,
            seed=os.urandom(32),
        )
        left_s = max(0.0, (train.closes_ms - self._wall_ms()) / 1_000) if train.closes_ms else FETCH_S
        try:
            self.children.start("learner", task, self._monotonic_s() + left_s + LEARN_GRACE_S)
        except ChildError as error:
            self._news.append(LearnerEnded(run=train.run, code=error.code, reason=error.what))

    def _sweep(self, now_s: float) -> None:
        self._due_sweep_s = now_s + SWEEP_S
        self.store.sweep(self._wall_ms(), {model.name: model.examples_max for model in self.loaded.profile.model})
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
        watched = self._watched()
        until_s = max(0.0, min(self._due_tick_s, self._due_receipt_s) - self._monotonic_s())
        if self._news or (self._fetches and not self.children.busy("updater")):
            until_s = 0.0
        elif self.link.state != "up":
            until_s = min(until_s, WAIT_DOWN_S)
        elif self._outgoing.waiting and self.link.room > 0:
            until_s = min(until_s, PACED_WAIT_S)
        ready = watched.poll(until_s * 1_000)
        if any(descriptor == self._awake for descriptor, _ in ready):
            os.read(self._awake, 4_096)

    def _watched(self) -> select.poll:
        """What to wait for; made anew only when it changes."""
        opened = self.link.socket
        line = (opened.fileno(), self.link.wants_write) if opened is not None else (-1, False)
        children = self.children.watched
        if (line, children) != self._poll_of:
            self._poll_of = (line, children)
            self._poll = select.poll()
            self._poll.register(self._awake, select.POLLIN)
            if line[0] >= 0:
                self._poll.register(line[0], select.POLLIN | (select.POLLOUT if line[1] else 0))
            for descriptor, writing in children.items():
                self._poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)
        return self._poll
