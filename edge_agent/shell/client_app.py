"""The other way to take part: Flower's own SuperNode, with this installed app instead of our learner.

`flower-supernode … --node-config 'settings="/etc/edgeward/agent.toml"'`. It trains what the learner trains, on the
agent's examples and within the profile's clip, noise and consents. It knows no ledger, so what it sends is in none;
personal parameters and what rounding took stay in Flower's state of this node. See docs/rounds.md.
"""

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from edge_agent.effects import Train
from edge_agent.errors import RoundRefused, SettingsError
from edge_agent.memory.consent import Consents
from edge_agent.settings import load as load_settings
from edge_agent.shell import database, held
from edge_agent.shell.answer import answer
from edge_agent.shell.learn_task import learn_task
from edge_agent.shell.learner import SECRET
from edge_agent.shell.lessons import load_lessons, taken_up
from edge_agent.shell.pipe import LearnTask
from firmware_configs.errors import EdgeError
from firmware_configs.loader import load as load_profile
from firmware_configs.messages import Consent
from firmware_configs.profile import Profile
from models import arrays
from models.bundle import SUFFIX

app = ClientApp()


@app.train()
def take_part(message: Message, context: Context) -> Message:
    """One round, as the learner does it; a refusal with its code where the learner refuses."""
    try:
        return _take_part(message, context)
    except EdgeError as error:
        return Message(Error(code=0, reason=f"{error.code} {error.what} ({error.hint})"), reply_to=message)


def _take_part(message: Message, context: Context) -> Message:
    told = {n: v for record in message.content.config_records.values() for n, v in record.items()}
    files, asked = arrays.parted(told)
    files |= {n: bytes(a.data) for record in message.content.array_records.values() for n, a in record.items()}
    sent = {name: arrays.read(raw, name[:40]) for name, raw in files.items()}
    if SECRET in asked:
        raise RoundRefused(
            "a secret sum's stages need one process, a SuperNode starts one a message", hint="run edge-agent's learner"
        )
    task = _task(context.node_config, str(context.run_id), str(asked.get("bundle")), str(asked.get("version")))
    if task.secret:
        raise RoundRefused(
            "this profile lets updates out only as part of a secret sum", hint="edge-coordinator train --secret-sum"
        )
    if task.noise_multiplier > 0.0 and task.epsilon_max is not None:
        raise RoundRefused("a SuperNode keeps no account of this device's ε", hint="run edge-agent's learner")
    lessons, state = load_lessons(task), context.state.config_records
    if task.bundle in state:
        lessons = taken_up(lessons, held.unpack(bytes(state[task.bundle]["kept"])))  # type: ignore[arg-type]
    _, delta, facts, trained = answer(task, lessons, sent, asked)
    lessons.personal, lessons.copies = trained.personal, trained.copies
    state[task.bundle] = ConfigRecord({"kept": lessons.hold(task.seed, b"")})
    return Message(_record(np.asarray(delta), facts), reply_to=message)


def _record(delta: NDArray[np.int8], facts: dict[str, Any]) -> RecordDict:
    """As the learner sends it."""
    small = arrays.beside({"delta": delta})
    if small is not None:
        return RecordDict({"facts": ConfigRecord({**facts, **small})})
    return RecordDict({"delta": ArrayRecord({"delta": Array(delta)}), "facts": ConfigRecord(facts)})


def _task(config: Any, run: str, bundle: str, version: str) -> LearnTask:
    if not config.get("settings"):
        raise SettingsError(
            "the node's configuration names no settings", hint="--node-config 'settings=\"/etc/edgeward/agent.toml\"'"
        )
    settings = load_settings(Path(str(config["settings"])), os.environ)
    profile = load_profile(Path(settings.profile)).profile
    if not any(model.name == bundle and model.federated for model in profile.model):
        raise RoundRefused(f"`{bundle[:80]}` is not federated here", hint="set federated = true in the profile")
    state_dir = Path(settings.state_dir)
    name = f"{bundle}-{version}{SUFFIX}"
    found = [path for path in (state_dir / "bundles" / name, *map(Path, settings.bundles)) if path.name == name]
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        raise RoundRefused(f"{bundle} {version[:40]} is not on this device", hint="deploy it first")
    seed = str(config.get("seed", ""))
    offered = Train(
        run=run,
        bundle=bundle,
        version=version,
        superlink="",
        app_hash="",
        closes_ms=0,
        subjects=_subjects(profile, state_dir / database.FILE),
    )
    return learn_task(
        settings,
        profile,
        offered,
        path=str(path),
        database=state_dir / database.FILE,
        # A seed repeats a run for a comparison; nobody else should give one.
        seed=bytes.fromhex(seed) if seed else os.urandom(32),
    )


def _subjects(profile: Profile, path: Path) -> tuple[str, ...]:
    """Whose examples may be learned from, by the receipts that the agent has kept."""
    purposes = next((egress.purposes for egress in profile.egress if egress.kind == "update"), None)
    if purposes is None:
        raise RoundRefused("this profile lets no update out", hint="add an [[egress]] of kind update")
    consents = Consents(profile.purpose)
    connection = database.open_readable(path)
    rows = connection.execute("SELECT key, value FROM state WHERE room = 'consent'").fetchall()
    connection.close()
    for subject, value in rows:
        word = msgspec.msgpack.decode(value, type=Consent)
        consents.hear(subject, word.purposes, word.time_ms, word.time_ms, word.versions)
    return consents.subjects_allowing(purposes)
