"""The reference: pages made of the code, so that they cannot say anything else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from edge_agent.settings import Settings
from firmware_configs import measured, messages, reference
from firmware_configs.profile import Profile
from firmware_configs.reference import WORDS
from firmware_configs.rules import ALL
from firmware_configs.rules.besides import BESIDES, EXAMPLES
from firmware_configs.rules.examples import of
from models.spec import Spec
from tools.site import commands, errors, structs

ROOT: Final = Path(__file__).parents[2]
TOPICS: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("decision/{placement}", "device", "DecisionMade", "what an event or a due moment led to; or taken back"),
    ("request/{placement}", "client", "Request", "asks for a decision; the answer goes where the request says"),
    ("reply/{client}", "device", "DecisionMade", "answers to requests, where they name it"),
    ("feedback", "client", "Feedback", "what became of a decision"),
    ("consent/{subject}", "client, retained", "Consent", "a person's newest word"),
    ("capture/{name}", "page", "as the profile's `[[source]]` says", "what a page captured"),
    ("desired", "coordinator, retained", "Desired", "what the device should run"),
    ("reported", "device, retained", "Reported", "what it runs"),
    ("status", "device, retained", "Status", "birth, figures, last will"),
    ("rejected", "device", "Rejected", "a sample of what was rejected, never the payload"),
    ("alert", "device", "Alert", "something needs a person"),
)
"""(below `edgeward/1/{device}/`, who writes it, payload, meaning)."""


def pages() -> dict[str, str]:
    """Path below docs/ → Markdown."""
    made = {f"reference/{program}.md": commands.page(program) for program in commands.PROGRAMS}
    return made | {
        "reference/errors.md": errors.page(),
        "reference/topics.md": "\n".join(_topics()),
        "reference/profile.md": "\n".join(_profile()),
        "reference/settings.md": "\n".join(_settings()),
        "reference/bundle.md": "\n".join(_bundle()),
        "reference/rules.md": "\n".join(_rules()),
    }


def _topics() -> Iterator[str]:
    yield "# Topics and payloads\n"
    yield f"All below `{messages.ROOT}/{{device}}/`, at QoS 1. Payloads are msgpack, or JSON where MQTT 5's"
    yield "Content Type says `application/json`; keys are the same. How clients use them: [clients](../clients.md).\n"
    yield "| topic | written by | payload | |"
    yield "|---|---|---|---|"
    for topic, writer, payload, meaning in TOPICS:
        shown = f"[{payload}](#{payload.lower()})" if payload.isalpha() else payload
        yield f"| `{topic}` | {writer} | {shown} | {meaning} |"
    yield "\nJSON Schema of all of them: `firmware_configs/reference/messages.schema.json` in the repository.\n"
    for word in WORDS:
        if word is not measured.Measured:
            yield from structs.tables(word, word.__name__)


def _profile() -> Iterator[str]:
    yield "# The device profile\n"
    yield "What a device may collect, decide, keep and send: one TOML file. Unknown keys are errors with their place."
    yield "`edge-audit check` and `edge-agent check` read it. Shipped ones: `firmware_configs/profiles/`.\n"
    yield from structs.tables(Profile, "Top level")
    yield from _document("reference.toml", "Every option in one file")


def _settings() -> Iterator[str]:
    yield "# Settings of an agent: agent.toml\n"
    yield "Read once, at start. Paths are relative to the file. Each setting is also an environment variable:"
    yield "`broker.url` is `EDGE_AGENT_BROKER__URL`; a list is written `a:b`.\n"
    yield from structs.tables(Settings, "Top level")
    yield from _document("agent.toml", "All of it, commented")


def _document(name: str, heading: str) -> Iterator[str]:
    text = (reference.FOLDER / name).read_text(encoding="utf-8")
    yield f"## {heading}\n\n```toml\n{text.rstrip()}\n```\n"


def _bundle() -> Iterator[str]:
    yield "# The bundle: bundle.toml\n"
    yield "`NAME-VERSION.edgeward` is a deterministic archive. `edge-models inspect FILE` shows one,"
    yield "`edge-models check FILE` runs what a device runs before it trusts it.\n"
    yield "| file | |"
    yield "|---|---|"
    for name, meaning in BUNDLE_FILES.items():
        yield f"| `{name}` | {meaning} |"
    yield ""
    yield from structs.tables(Spec, "bundle.toml")


BUNDLE_FILES: Final = {
    "bundle.toml": "what follows on this page",
    "predict.onnx": "the graph that predicts; weights are inputs",
    "weights.npz": "the parameters",
    "golden.npz": "inputs and outputs that a device checks before it trusts the load",
    "card.md": "data, figures, subgroup figures, intended use, limits",
    "train_step.onnx": "optional: one training step; weights and optimiser state are inputs and outputs",
    "model.tflite": "optional: the same for LiteRT, with signatures",
    "catalogue.txt": "optional: the items that it knows",
    "bandit.npz": "optional: what policies have seen elsewhere, to begin from",
}


def _rules() -> Iterator[str]:
    yield "# Rules of the auditor\n"
    yield f"{len(ALL)} rules, each with a code that never changes its meaning. `edge-audit check` runs them,"
    yield "`edge-audit rules CODE` explains one. Errors and warnings make the command exit with 1, notes do not.\n"
    yield "DM000 and DM9 are no rules about profiles: they say what does not load, and which waivers to look at.\n"
    for rule in (*ALL, *BESIDES):
        example = EXAMPLES.get(rule.code) or of(rule.code)
        yield f"## {rule.code}: {rule.title}\n"
        yield f"**{rule.level}.** {rule.why}" + (f" See {rule.law}.\n" if rule.law else "\n")
        yield f"This breaks it:\n\n```toml\n{example.failing.strip()}\n```\n"
        yield f"This does not:\n\n```toml\n{example.passing.strip()}\n```\n"


def documented(word: type[Struct]) -> bool:
    """Whether a payload has a topic in the table."""
    return any(payload == word.__name__ for _, _, payload, _ in TOPICS)
