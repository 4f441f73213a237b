"""What children are sent for: bundles are fetched, rounds are learned from; and what they bring back, as happenings."""

import errno
import math
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from edge_agent.effects import Answer, Fetch, Post, Switch, Train
from edge_agent.errors import (
    BundleUnavailable,
    ChildError,
    DiskFull,
    RoundRefused,
    SignatureRejected,
)
from edge_agent.happenings import (
    BundleFailed,
    BundleReady,
    BundleStaged,
    BundleWithdrawn,
    DocumentFailed,
    EgressAsked,
    Happening,
    Learned,
    LearnerEnded,
    Posted,
    RoundTaken,
)
from edge_agent.settings import Settings
from edge_agent.shell import slots
from edge_agent.shell.children import Child, Children, Task
from edge_agent.shell.learn_task import learn_task
from edge_agent.shell.pipe import (
    AskEgress,
    EgressAnswer,
    Ended,
    Fetched,
    FetchTask,
    LearnTask,
    SealTask,
    SendTask,
    Took,
    ToParent,
    TrainedReport,
    Tried,
)
from edge_agent.shell.say import Tell
from edge_agent.shell.seals import Seals
from edge_agent.shell.shelf import BundleShelf
from firmware_configs.messages import INTERRUPTED
from firmware_configs.profile import Profile
from firmware_configs.targets import Kind

FETCH_S = 600.0
FETCH_BYTES = 256 * 1024 * 1024
"""What a download that is held to a rate gets time for, beside FETCH_S."""
AGAIN_S = 30.0
AGAIN_S_MAX = 3_600.0
LEARN_GRACE_S = 30.0
FETCHES_MAX = 64
SILENCES = 6
"""A sender may wait for its server so many times a letter before it is overdue."""


class Again(Struct):
    """A fetch that failed for a reason that may pass."""

    fetch: Fetch
    times: int = 0
    due_s: float = 0.0
    """Monotonic seconds."""


class Errands:
    """Starts children, one of each kind at a time, and tells the loop what came of it.

    Attributes:
        children: the processes.
        news: happenings for the next step.
        seals: of the ledger's days.
    """

    def __init__(self, settings: Settings, profile: Profile, shelf: BundleShelf, say: Tell, database: Path) -> None:
        self.children = Children(lambda kind, line: say("info", kind, line))
        self.news: list[Happening] = []
        self.renewed = False
        """Whether another profile lies ready, so that the agent must start again."""
        self.profile_path = ""
        """File of the profile that runs."""
        self.seals = Seals(Path(settings.state_dir), settings.device, settings.superlink.node_key, self.children, say)
        self._settings, self._profile, self._shelf, self._say = settings, profile, shelf, say
        self._database = database
        self._now_s = 0.0
        self._fetches: deque[Fetch] = deque()
        self._posts: dict[str, bytes] = {}
        """Key → letter, to be taken along by the next sender."""
        self._again: dict[tuple[Kind, str], Again] = {}
        """(kind, name) → a fetch that is tried again, unless something else is wanted meanwhile."""
        self.settled_ms: Callable[[], int] = lambda: 0
        """Unix ms that have passed for certain (docs/time.md)."""
        self.is_wanted: Callable[[Kind, str, str], bool] = lambda _kind, _name, _version: True
        """Whether the coordinator wants this version now (kind, name, version), or has no wish."""
        self._trying: set[str] = set()
        """Keys that the sender took along and has said nothing of."""

    @property
    def pressing(self) -> bool:
        """Whether there is something to do at once."""
        busy = self.children.busy
        return bool(self.news or (self._fetches and not busy("updater")) or (self._posts and not busy("sender")))

    def take_up(self, recall: Callable[[str, str], bytes | None], is_tried: Callable[[str, str], bool]) -> None:
        """The bundles that served or were on trial, and the settings' own where there is none.

        Args:
            is_tried: whether a version (name, version) is on trial now.
        """
        self._shelf.deaths.is_tried = is_tried
        own = [BundleReady(name=model.name, version=model.version) for model in self._shelf.unsigned(self._settings)]
        declared = [model.name for model in self._profile.model]
        self.news += [ready for ready in own if ready.name not in declared]
        self.news += self._shelf.take_up(declared, recall)
        for one in self.news:
            self._tell(one)

    def take_news(self, now_s: float) -> list[Happening]:
        """Everything that has happened since this was last asked."""
        self._now_s = now_s
        news, self.news = self.news, []
        if not self.children.running:
            return news
        return news + [one for child, word in self.children.listen(now_s) for one in self._hear(child, word)]

    def fetch(self, fetch: Fetch) -> None:
        """Queue a bundle to be fetched."""
        self._again.pop((fetch.kind, fetch.name), None)
        if len(self._fetches) < FETCHES_MAX:
            self._fetches.append(fetch)

    def post(self, post: Post, *, degraded: bool) -> None:
        """Queue a letter for the sender.

        Args:
            degraded: nothing can be committed now, so the ledger's row is in memory only: then nothing is sent.
        """
        if degraded:
            self.news.append(Posted(key=post.key, outcome="again", reason="the ledger cannot be written now"))
        else:
            self._posts[post.key] = post.letter

    def switch(self, asked: Switch) -> Happening:
        """Bring a bundle that lies here to its stage."""
        said = self._shelf.switch(asked)
        self._tell(said)
        return said

    def answer(self, answer: Answer, *, degraded: bool) -> None:
        """Pass the ledger's word on.

        Args:
            degraded: as in `post`.
        """
        granted, reason = answer.granted, answer.reason
        if granted and degraded:
            granted, reason = False, "the ledger cannot be written now"
        self.children.answer(EgressAnswer(token=answer.token, granted=granted, reason=reason))

    def _send_next(self, now_s: float) -> None:
        """Send the sender with all letters that wait for it, unless it is out already."""
        if self.children.busy("sender"):
            return
        posts, self._posts = self._posts, {}
        smtp, push = self._settings.smtp, self._settings.push
        task = SendTask(letters=tuple(posts.values()), device=self._settings.device, smtp=smtp, push=push)
        self._trying = set(posts)
        longest_s = SILENCES * max(smtp.timeout_s, push.timeout_s) * len(posts)
        try:
            self.children.start("sender", task, now_s + longest_s)
        except ChildError as error:
            self.news += self._untried(error.what)

    def _untried(self, reason: str) -> list[Happening]:
        """A sender that is gone may have sent what it said nothing of: it is tried again under the same key."""
        keys, self._trying = sorted(self._trying), set()
        return [Posted(key=key, outcome="again", reason=reason) for key in keys]

    def start_next(self, now_s: float) -> None:
        """Send the sender and the updater for what waits for them, unless they are out already."""
        if self._posts:
            self._send_next(now_s)
        self._take_up_again(now_s)
        if not self._fetches or self.children.busy("updater"):
            return
        fetch = self._fetches.popleft()
        registry = self._settings.registry
        url = registry.url or fetch.registry
        try:
            trusted = self._shelf.ensure_trust(registry.trusted_root)
        except OSError as error:
            code = DiskFull.code if error.errno == errno.ENOSPC else BundleUnavailable.code
            reason = f"the trusted root cannot be laid down: {error}"
            reason += self._try_again(fetch) if code in INTERRUPTED else ""
            self._say("warning", code, f"{fetch.name} {fetch.version}: {reason}")
            self.news.append(self._failed(fetch, code, reason))
            return
        if not trusted:
            code, reason = SignatureRejected.code, "this device was given no trusted root (registry.trusted_root)"
            self._say("warning", code, reason)
            self.news.append(self._failed(fetch, code, reason))
            return
        task = FetchTask(
            name=fetch.name,
            version=fetch.version,
            registry=url,
            ca=registry.ca,
            trust_dir=str(self._shelf.trust),
            bundles_dir=str(self._shelf.folder),
            backend=self._shelf.backends.get(fetch.name, "onnx"),
            to=fetch.to,
            memory_mib=self._profile.device.memory_mib_max,
            fleet=self._profile.device.fleet,
            rate_max=registry.rate_max_kib * 1_024,
            not_before_ms=self.settled_ms(),
            attested=registry.attested,
            approvals=registry.approvals,
            kind=fetch.kind,
            profile=self.profile_path,
        )
        longest_s = FETCH_S + (FETCH_BYTES / task.rate_max if task.rate_max else 0.0)
        try:
            self.children.start("updater", task, now_s + longest_s)
        except ChildError as error:
            code = BundleUnavailable.code
            self.news.append(self._failed(fetch, code, error.what))

    def _stage(self, task: FetchTask, fetched: Fetched) -> None:
        """A profile that was verified, for the next start, which is now."""
        try:
            content = Path(fetched.path).read_bytes()
            slots.stage(Path(self._settings.state_dir), task.kind, f"{task.name}-{task.version}", content)
            Path(fetched.path).unlink()
        except OSError as error:
            self.news.append(self._failed(task, BundleUnavailable.code, f"it could not be laid down: {error}"))
            return
        self._say("info", "profile", f"{task.kind} {task.name} {task.version} is here; starting again with it")
        self.renewed = True

    @staticmethod
    def _failed(task: FetchTask | Fetch, code: str, reason: str) -> BundleFailed | DocumentFailed:
        if task.kind == "bundle":
            return BundleFailed(name=task.name, version=task.version, code=code, reason=reason)
        return DocumentFailed(kind=task.kind, name=task.name, version=task.version, code=code, reason=reason)

    def _take_up_again(self, now_s: float) -> None:
        """Queue what is due to be tried again, once; what is wanted no more is forgotten."""
        for key, again in list(self._again.items()):
            if now_s < again.due_s:
                continue
            if self.is_wanted(*key, again.fetch.version):
                again.due_s = math.inf
                self._fetches.append(again.fetch)
            else:
                del self._again[key]

    def _try_again(self, task: FetchTask | Fetch) -> str:
        """Note that a fetch is tried again; returns when, in words."""
        key = (task.kind, task.name)
        held = self._again.get(key)
        if held is None or held.fetch.version != task.version:
            wish = Fetch(name=task.name, version=task.version, registry=task.registry, to=task.to, kind=task.kind)
            held = Again(wish)
        wait_s = min(AGAIN_S_MAX, AGAIN_S * 2**held.times)
        held.times, held.due_s = held.times + 1, self._now_s + wait_s
        self._again[key] = held
        return f"; tried again in {wait_s:.0f} s"

    def train(self, train: Train, wall_ms: int, now_s: float) -> None:
        """Start the learner, or say why not."""
        link = self._settings.superlink
        model = self._shelf.active.get(train.bundle)
        reason = ""
        if not link.node_key:
            reason = "this device has no node key (superlink.node_key)"
        elif model is None or (model.version != train.version and train.counts != "metrics"):
            reason = f"{train.bundle} {train.version} does not run here"
        elif self.children.busy("learner"):
            reason = "a learner is still at work"
        if reason or model is None:
            self.news.append(LearnerEnded(run=train.run, code=RoundRefused.code, reason=reason))
            return
        task = learn_task(
            self._settings, self._profile, train, path=model.path, database=self._database, seed=os.urandom(32)
        )
        left_s = max(0.0, (train.closes_ms - wall_ms) / 1_000) if train.closes_ms else FETCH_S
        longest_s = next(m.check_in.seconds_max for m in self._profile.model if m.name == train.bundle)
        deadline_s = now_s + min(left_s + LEARN_GRACE_S, longest_s)
        try:
            self.children.start("learner", task, deadline_s, task.memory_mib)
        except ChildError as error:
            self.news.append(LearnerEnded(run=train.run, code=error.code, reason=error.what))

    def _hear(self, child: Child, word: ToParent) -> list[Happening]:
        """A child's word as happenings."""
        task = child.task
        match word:
            case Took(run=run, state=state):
                return [RoundTaken(run=run, state=state)]
            case AskEgress():
                return [EgressAsked(**{name: getattr(word, name) for name in EgressAsked.__struct_fields__})]
            case TrainedReport():
                return [Learned(**{name: getattr(word, name) for name in Learned.__struct_fields__})]
            case Fetched(name=name, version=version):
                kind = task.kind if isinstance(task, FetchTask) else "bundle"
                self._again.pop((kind, name), None)
                if not self.is_wanted(kind, name, version):
                    self._say("info", kind, f"{name} {version} is here, and no longer wanted")
                    return []
                if isinstance(task, FetchTask) and kind != "bundle":
                    self._stage(task, word)
                    return []
                to = task.to if isinstance(task, FetchTask) else "full"
                return [self.switch(Switch(name=name, version=version, to=to))]
            case Tried(key=key):
                self._trying.discard(key)
                return [Posted(**{name: getattr(word, name) for name in Posted.__struct_fields__})]
            case Ended(code=code, reason=reason):
                return self._hear_end(task, code, reason)

    def _hear_end(self, task: Task, code: str, reason: str) -> list[Happening]:
        """A child's last word."""
        match task:
            case LearnTask():
                if code:
                    self._say("warning", code, f"round {task.run}: {reason}")
                return [LearnerEnded(run=task.run, code=code, reason=reason)]
            case SendTask():
                return self._untried(reason or "the sender ended early")
            case SealTask():
                self.seals.ended(code, reason)
                return []
            case FetchTask() if code:
                reason += self._try_again(task) if code in INTERRUPTED else ""
                self._say("warning", code, f"{task.name} {task.version}: {reason}")
                return [self._failed(task, code, reason)]
            case _:
                return []

    def _tell(self, news: Happening) -> None:
        match news:
            case BundleReady(name=name, version=version, reason=reason):
                self._say("info", "bundle", f"{name} {version} is active{f': {reason}' if reason else ''}")
            case BundleStaged(name=name, version=version, stage=stage):
                self._say("info", "bundle", f"{name} {version} is on trial ({stage})")
            case BundleWithdrawn(name=name, version=version, reason=reason):
                self._say("warning", "bundle", f"{name} {version} gives way: {reason}")
            case BundleFailed(name=name, version=version, code=code, reason=reason):
                self._say("error", code, f"{name} {version}: {reason}")
            case _:
                pass
