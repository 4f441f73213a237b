"""The learner: a process that lives only while there is something to learn.

It reads the local examples, trains with the bundle's own graph, asks its parent for a ledger entry, sends what was
entered, hands new personal parameters to the parent, and exits. Nothing that the server sends is executed.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.errors import EgressError, NodeRefused, RoundError, RoundRefused, TrainingFailed
from edge_agent.learn import parameters
from edge_agent.learn.personalised import next_control
from edge_agent.learn.plan import Plan, check_examples
from edge_agent.learn.secret import Part, noise_told, vector_of
from edge_agent.learn.trainer import Trained
from edge_agent.shell.answer import answer, noise_dice, trained_as_asked
from edge_agent.shell.bandit_sums import BANDIT, read_summing, sums_of, sums_told
from edge_agent.shell.counting import STATISTIC, table_of
from edge_agent.shell.drifted import STATISTIC as DRIFT
from edge_agent.shell.drifted import vector_of as vector_of_drift
from edge_agent.shell.grouped import vector_of as vector_of_groups
from edge_agent.shell.lessons import Lessons, load_lessons
from edge_agent.shell.pipe import (
    AskEgress,
    EgressAnswer,
    Ended,
    LearnTask,
    ParentLine,
    Took,
    TrainedReport,
    parent_line,
)
from firmware_configs import gaussian
from firmware_configs.errors import EdgeError
from models import flat
from models.errors import ModelError, SecureSumFailed
from models.secure_sum.messages import Asked, unpack

if TYPE_CHECKING:
    from edge_agent.shell.fleet import Ask, Fleet
    from models.secure_sum.noise import Noise

F32 = NDArray[np.float32]
METRICS = "metrics"
"""Value of a message's `statistic`; and as what these cost the device's budget, for they are of no bundle."""
SECRET = "secret"  # noqa: S105 - not a password
"""Key of a secret sum's stage in a message's configuration."""
HEARD_S = 10.0
"""For the server to pick up a refusal; it may be busy with another device's reply."""


class Cost(NamedTuple):
    """What a payload costs the device's own budget of a bundle."""

    bundle: str = ""
    mu_squared: float = 0.0


NOTHING = Cost()


def main() -> None:
    """Entry of the child process."""
    line = parent_line()
    task = line.receive()
    if not isinstance(task, LearnTask):
        sys.exit(2)
    code, reason = "", ""
    try:
        _learn(task, line)
    except EdgeError as error:
        code, reason = error.code, f"{error.what}; fix: {error.hint}"
    except Exception as error:  # noqa: BLE001 - the process's last line: whatever it was, the agent is told
        code, reason = TrainingFailed.code, f"{type(error).__name__}: {error}"
    line.send(Ended(code=code, reason=reason))


def _learn(task: LearnTask, line: ParentLine) -> None:
    lessons = load_lessons(task)
    if lessons.held is None:
        check_examples(lessons.examples, task.examples_min)
    else:
        task = msgspec.structs.replace(task, seed=lessons.held.seed)
    closes = task.closes_ms / 1_000

    def still_open() -> bool:
        return not task.closes_ms or time.time() < closes

    reported = False
    try:
        with _connected(task, still_open) as fleet:
            part = Part(os.urandom, task.k_min)
            ask, is_last = _go_on(lessons, fleet)
            if is_last:
                line.send(_report(task, lessons))
                reported = True
            # Until the run is over, even after the last reply: the SuperLink throws away what it has not yet
            # handed to the server of a node that has left.
            while (ask := ask or fleet.next()) is not None:
                plainly = _tell_counts if STATISTIC in ask.plan else _take_part
                take = _take_part_in_secret if SECRET in ask.plan else plainly
                # In a run without common rounds each reply may be this device's last.
                again = bool(ask.plan.get("asynchronous"))
                is_last, ask = take(task, lessons, part, fleet, ask, line), None
                if is_last and (again or not reported):
                    line.send(_report(task, lessons))
                    reported = True
    except RoundError:
        # What goes wrong after the last reply takes nothing back.
        if not reported:
            raise
    if not reported:
        raise RoundRefused(
            f"the run ended after {lessons.rounds} rounds of this device, before its last one",
            hint="nothing to do; the next offer counts",
        )


@contextmanager
def _connected(task: LearnTask, still_open: Callable[[], bool]) -> "Iterator[Fleet]":
    """The connection by the key in use; by the next one where only that is accepted, which then is the one in use."""
    from edge_agent.shell.fleet import connect
    from edge_agent.shell.keys import adopt, next_of

    with ExitStack() as stack:
        key = Path(task.node_key)

        def connected(by: Path) -> "Fleet":
            return stack.enter_context(connect(task.superlink, task.ca, by, task.run, task.app_hash, still_open))

        try:
            fleet = connected(key)
        except NodeRefused:
            if not next_of(key).exists():
                raise
            fleet = connected(next_of(key))
            adopt(key)
        yield fleet


def _go_on(lessons: Lessons, fleet: "Fleet") -> "tuple[Ask | None, bool]":
    """Where a learner of this run was cut: send again what was entered, or read again what was asked.

    Returns:
        The message that waits for an answer, if there is one, and whether the run's last answer has been sent.
    """
    from edge_agent.shell import fleet as fleets

    found = lessons.held
    if found is None:
        return None, False
    if found.reply:
        fleet.send(fleets.unpack(found.reply), 0.0)
        return None, found.is_last
    try:
        return fleet.read(found.note), False
    except RoundRefused:
        return None, False  # the server has given up on it; the next one counts


def _take_part(task: LearnTask, lessons: Lessons, _part: Part, fleet: "Fleet", ask: "Ask", line: ParentLine) -> bool:
    """One round; True when it was the run's last."""
    from edge_agent.shell import fleet as fleets

    started = time.monotonic()
    line.send(Took(run=task.run, state=lessons.hold(task.seed, ask.note)))
    try:
        if task.secret:
            raise RoundRefused(
                "this profile lets updates out only as part of a secret sum", hint="edge-coordinator train --secret-sum"
            )
        plan, delta, facts, trained = answer(task, lessons, ask.arrays, ask.plan)
    except RoundError as error:
        _say_no(fleet, ask, task, line, error)
        raise
    reply = fleet.prepare(ask, delta, facts)
    is_last = plan.asynchronous or plan.round >= plan.rounds
    _keep(lessons, trained)
    state = lessons.hold(task.seed, ask.note, fleets.pack(reply), is_last=is_last)
    _ask_ledger(line, task.run, str(plan.round), "update", reply.payload, _privacy(task, plan), _cost(task), state)
    fleet.send(reply, time.monotonic() - started)
    return is_last


def _tell_counts(task: LearnTask, lessons: Lessons, _part: Part, fleet: "Fleet", ask: "Ask", line: ParentLine) -> bool:
    """A round of counts, always the run's last."""
    started = time.monotonic()
    try:
        if not task.statistic:
            raise RoundRefused("the offer was of another kind of round", hint="start a new run")
        _check_counts(task, ask.plan)
        bandit = ask.plan.get(STATISTIC) == BANDIT
        summing = read_summing(task, ask.plan) if bandit else None
        if summing is not None and task.secret:
            raise RoundRefused(
                "this profile lets sums out only in secret", hint="edge-coordinator bandit merge --secret-sum"
            )
        table = table_of(task, lessons, ask, Path(task.path)) if summing is None else sums_of(task, summing)
    except (RoundError, ModelError) as error:
        refused = error if isinstance(error, RoundError) else RoundRefused(error.what, hint=error.hint)
        _say_no(fleet, ask, task, line, refused)
        raise refused from None
    sent = table if summing is None else table.astype(np.float32)
    reply = fleet.prepare(ask, sent, {"statistic": ask.plan[STATISTIC]})
    told = f"{len(table)} counts, to be read of {ask.plan['minimum']} devices or more together; "
    told += "no noise, no epsilon" if summing is None else sums_told(task, summing)
    _ask_ledger(line, task.run, "counts", "statistic", reply.payload, told)
    fleet.send(reply, time.monotonic() - started)
    return True


def _take_part_in_secret(
    task: LearnTask, lessons: Lessons, part: Part, fleet: "Fleet", ask: "Ask", line: ParentLine
) -> bool:
    """One stage of a round whose updates are summed in secret; True when it was the run's last."""
    started = time.monotonic()
    made: list[tuple[Plan, Trained]] = []
    counted: list[tuple[Cost, str]] = []

    def update() -> NDArray[np.float64]:
        said = {name: value for name, value in ask.plan.items() if name != SECRET}
        if task.statistic and STATISTIC in said:
            sums, cost, told = _sums_as_asked(task, lessons, said, asked.noise)
            counted.append((cost, told))
            return sums
        plan, shared, trained = trained_as_asked(task, lessons, ask.arrays, said, in_secret=True)
        if plan.top_k:
            raise RoundRefused(
                "the positions of the largest numbers would tell what this device learned", hint="train --random-k"
            )
        made.append((plan, trained))
        clip = min(plan.clip_norm, task.clip_norm)
        change, lessons.residual = vector_of(plan, shared, trained.shared, lessons.residual, clip)
        if task.noise_multiplier > 0.0:
            change = change + noise_dice().normal(0.0, task.noise_multiplier * clip, change.shape)
        if plan.control:
            parts = lessons.bundle.spec.of_share("shared")
            moved = flat.split(parts, change[: flat.size_of(parts)])
            lessons.control = next_control(lessons.control, trained.control, moved, plan.steps, plan.lr)
        return change

    try:
        asked = unpack(bytes(ask.plan[SECRET]), Asked)
        body = part.answer(asked, update, np.random.default_rng([*task.seed, 1]))
    except (RoundError, SecureSumFailed) as error:
        refused = error if isinstance(error, RoundError) else RoundRefused(error.what, hint=error.hint)
        _say_no(fleet, ask, task, line, refused)
        raise refused from None
    reply = fleet.prepare_part(ask, body)
    privacy = f"secret sum of {asked.members}, stage {asked.stage}"
    if made:
        privacy += f"; {_privacy(task, made[0][0])}"
        privacy += f"; {noise_told(asked.noise)}" if asked.noise is not None else ""
    if counted:
        privacy += f"; {counted[0][1]}"
        part.is_last = True
    cost = _cost(task) if made else counted[0][0] if counted else NOTHING
    _ask_ledger(line, task.run, f"{asked.context}-{asked.stage}", task.egress, reply.payload, privacy, cost)
    fleet.send(reply, time.monotonic() - started)
    if made:
        _keep(lessons, made[0][1])
        part.is_last = made[0][0].round >= made[0][0].rounds
    return asked.stage == "reveal" and part.is_last


def _sums_as_asked(
    task: LearnTask, lessons: Lessons, said: Mapping[str, Any], noise: "Noise | None"
) -> tuple[NDArray[np.float64], Cost, str]:
    """A device's part of a secret sum of statistics, what it costs its own budget, and what the ledger says of it."""
    _check_counts(task, said)
    added = noise_told(noise) if noise is not None else "no noise of its own"
    cost = Cost(task.bundle, gaussian.sum_mu_squared(noise.multiplier)) if noise is not None else NOTHING
    if said[STATISTIC] == BANDIT:
        asked = read_summing(task, said, noise)
        return sums_of(task, asked), cost, f"{sums_told(task, asked)}; {added}"
    added = added if noise is not None else "no noise, no epsilon"
    if said[STATISTIC] == DRIFT:
        watched = len(task.drift.detectors) if task.drift is not None else 0
        told = f"tenths of {watched} drift detectors, clip {task.clip_norm:g}; {added}"
        return vector_of_drift(task, said, noise), cost, told
    if said[STATISTIC] == METRICS:
        from edge_agent.shell.measured import vector_of as vector_of_metrics  # few devices tell any

        told = f"sums of metrics by arm and segment, clip {task.clip_norm:g}; {added}"
        return vector_of_metrics(task, said, noise), Cost(METRICS, cost.mu_squared), told
    told = f"sums by group, clip {task.clip_norm:g}; {added}"
    return vector_of_groups(task, lessons, said, noise), cost, told


def _check_counts(task: LearnTask, said: Mapping[str, Any]) -> None:
    """Whether what is asked for is what was offered: each leaves by an egress with a privacy of its own.

    Raises:
        RoundRefused: it is something else.
    """
    if task.counts and said[STATISTIC] != task.counts:
        raise RoundRefused(
            f"{task.counts} were offered, and {str(said[STATISTIC])[:20]} are asked for", hint="start a new run"
        )


def _say_no(fleet: "Fleet", ask: "Ask", task: LearnTask, line: ParentLine, error: RoundError) -> None:
    """Tell the server why there will be no update, and what would change that; that, too, only past the ledger."""
    reply = fleet.refuse(ask, error.code, f"{error.what} ({error.hint})" if error.hint else error.what)
    with suppress(EgressError):
        # As what was asked for: that is what the profile declares for this destination. Of no run: it is not anybody's
        # last one.
        _ask_ledger(line, "", f"{task.run}-no", task.egress, reply.payload, "a refusal: an error code and its text")
        fleet.send(reply, 0.0)
        fleet.stay(HEARD_S)


def _privacy(task: LearnTask, plan: Plan) -> str:
    clip = f"clip {min(plan.clip_norm, task.clip_norm):g}"
    if task.noise_multiplier:
        return f"{clip}, Gaussian noise of its own, multiplier {task.noise_multiplier:g}"
    stated = plan.stated()
    return f"{clip}, no noise of its own; {stated.told()}" if stated is not None else f"{clip}, no noise, no epsilon"


def _cost(task: LearnTask) -> Cost:
    """What an update costs the device's own budget."""
    if task.noise_multiplier == 0.0:
        return Cost()
    return Cost(task.bundle, gaussian.local_mu_squared(task.noise_multiplier))


def _ask_ledger(
    line: ParentLine,
    run: str,
    part: str,
    kind: str,
    payload: bytes,
    privacy: str,
    cost: Cost = NOTHING,
    state: bytes = b"",
) -> None:
    """Nothing is sent before the agent's ledger has entered it, and kept a run's state with it.

    Raises:
        EgressError: the profile does not let it out.
    """
    token = f"{run}-{part}"
    line.send(
        AskEgress(
            token=token,
            kind=kind,
            destination="superlink",
            bytes=len(payload),
            sha256=hashlib.sha256(payload).hexdigest(),
            privacy=privacy,
            bundle=cost.bundle,
            mu_squared=cost.mu_squared,
            run=run,
            state=state,
        )
    )
    said = line.receive()
    if not isinstance(said, EgressAnswer) or said.token != token or not said.granted:
        reason = said.reason if isinstance(said, EgressAnswer) else "the agent is gone"
        raise EgressError(f"the ledger did not enter the {kind}: {reason}", hint="see the profile's [[egress]]")


def _keep(lessons: Lessons, trained: Trained) -> None:
    if not lessons.rounds:
        lessons.loss_before = trained.loss_before
    lessons.personal, lessons.copies = trained.personal, trained.copies
    lessons.loss_after = trained.loss_after
    lessons.rounds += 1


def _report(task: LearnTask, lessons: Lessons) -> TrainedReport:
    return TrainedReport(
        run=task.run,
        bundle=task.bundle,
        version=task.version,
        # A copy counts until the person's device takes part in a run without copies.
        personal={s: parameters.pack({**own, **lessons.copies.get(s, {})}) for s, own in lessons.personal.items()},
        examples=lessons.examples,
        loss_before=lessons.loss_before,
        loss_after=lessons.loss_after,
    )


if __name__ == "__main__":
    main()
