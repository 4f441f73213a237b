"""Where a bundle comes from, as an in-toto statement: values in, JSON out.

Form: in-toto Statement v1 with the predicate SLSA Provenance v1 (https://in-toto.io/Statement/v1,
https://slsa.dev/provenance/v1). What made the bundle is in `externalParameters`, what protects people in
`internalParameters`, parents and data in `resolvedDependencies`, evaluation in `byproducts`.
"""

from typing import Any

import msgspec
from msgspec import Struct

from coordinator.errors import AttestationInvalid

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
PAYLOAD = "application/vnd.in-toto+json"
FEDERATED = "urn:edgeward:federated-run:1"
HANDED_IN = "urn:edgeward:handed-in:1"
BYTES_MAX = 262_144


class Resource(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """in-toto's ResourceDescriptor, as far as it is used."""

    name: str = ""
    digest: dict[str, str] = {}
    uri: str = ""
    annotations: dict[str, Any] = {}


class BuildDefinition(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was done with what."""

    build_type: str
    external_parameters: dict[str, Any]
    internal_parameters: dict[str, Any] = {}
    resolved_dependencies: list[Resource] = []


class Builder(Struct, frozen=True, kw_only=True):
    """What did it."""

    id: str
    version: dict[str, str] = {}


_TIMES = {"invocation": "invocationId", "started": "startedOn", "finished": "finishedOn"}


class Metadata(Struct, frozen=True, kw_only=True, rename=_TIMES):
    """When."""

    invocation: str = ""
    started: str = ""
    finished: str = ""


class RunDetails(Struct, frozen=True, kw_only=True):
    """Who did it, and what came out besides."""

    builder: Builder
    metadata: Metadata = Metadata()
    byproducts: list[Resource] = []


class Predicate(Struct, frozen=True, kw_only=True, rename="camel"):
    """SLSA Provenance v1."""

    build_definition: BuildDefinition
    run_details: RunDetails


class Statement(Struct, frozen=True, kw_only=True, rename={"type_": "_type", "predicate_type": "predicateType"}):
    """in-toto Statement v1."""

    type_: str = STATEMENT
    subject: list[Resource]
    predicate_type: str = PREDICATE
    predicate: Predicate


class DataWindow(Struct, frozen=True, kw_only=True):
    """What the model saw, as far as anyone but the devices can know.

    Attributes:
        kind: `on devices`: examples that never left them; `declared`: what the card of a handed-in bundle says.
        since, until: ISO 8601, UTC; empty: unknown. Devices learn from what they hold, which their profile's retention
            bounds; the coordinator knows only that it ends when the last round closed.
        devices: reports that were aggregated in the smallest round.
    """

    kind: str
    since: str = ""
    until: str = ""
    devices: int = 0


class Made(Struct, frozen=True, kw_only=True):
    """How one version of a bundle came to be.

    Attributes:
        run: of the federated run; empty: the bundle was handed in.
        rounds: their numbers within the run.
        parents: version → sha256 of its file; empty where it is not in this registry.
        parameters: what was asked for: strategy, rounds, learning rate, seed, …
        privacy: unit, epsilon, delta, accountant, clip, noise, …; empty: nothing is claimed.
        evaluation: figures by name, such as losses.
        code: package → version.
    """

    run: str = ""
    rounds: tuple[int, ...] = ()
    parents: dict[str, str] = {}
    window: DataWindow = DataWindow(kind="declared")
    parameters: dict[str, Any] = {}
    privacy: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    code: dict[str, str] = {}
    started: str = ""
    finished: str = ""


def statement(bundle: str, target: str, sha256: str, made: Made) -> Statement:
    """What is attested of one file."""
    window = msgspec.to_builtins(made.window)
    parents = [
        Resource(name=f"{bundle} {version}", digest={"sha256": digest} if digest else {})
        for version, digest in sorted(made.parents.items())
    ]
    return Statement(
        subject=[Resource(name=target, digest={"sha256": sha256})],
        predicate=Predicate(
            build_definition=BuildDefinition(
                build_type=FEDERATED if made.run else HANDED_IN,
                external_parameters={"bundle": bundle, "rounds": list(made.rounds), **made.parameters},
                internal_parameters={"privacy": made.privacy} if made.privacy else {},
                resolved_dependencies=[*parents, Resource(name="data-window", annotations=window)],
            ),
            run_details=RunDetails(
                builder=Builder(id="urn:edgeward:coordinator", version=made.code),
                metadata=Metadata(invocation=made.run, started=made.started, finished=made.finished),
                byproducts=[Resource(name="evaluation", annotations=made.evaluation)] if made.evaluation else [],
            ),
        ),
    )


def pack(what: Statement) -> bytes:
    """The statement as JSON, keys sorted, so the same statement has the same bytes."""
    return msgspec.json.encode(msgspec.to_builtins(what), order="sorted")


def unpack(raw: bytes, where: str) -> Statement:
    """A statement again.

    Raises:
        AttestationInvalid: it is none, or of another kind.
    """
    hint = "the version must be published again with an attestation of its own"
    try:
        found = msgspec.json.decode(raw, type=Statement)
    except msgspec.MsgspecError as error:
        raise AttestationInvalid(f"{where}: no in-toto statement: {error}", hint=hint) from error
    if (found.type_, found.predicate_type) != (STATEMENT, PREDICATE):
        raise AttestationInvalid(f"{where}: a statement of {found.type_}, {found.predicate_type}", hint=hint)
    return found


def made_of(what: Statement) -> Made:
    """`statement` backwards, as far as people want to read it."""
    definition, run = what.predicate.build_definition, what.predicate.run_details
    given = dict(definition.external_parameters)
    bundle, rounds = str(given.pop("bundle", "")), given.pop("rounds", [])
    inputs = definition.resolved_dependencies
    window: dict[str, Any] = next((one.annotations for one in inputs if one.name == "data-window"), {})
    parents = {
        resource.name.removeprefix(f"{bundle} "): resource.digest.get("sha256", "")
        for resource in definition.resolved_dependencies
        if resource.name.startswith(f"{bundle} ")
    }
    try:
        return Made(
            run=run.metadata.invocation,
            rounds=tuple(msgspec.convert(rounds, tuple[int, ...])),
            parents=parents,
            window=msgspec.convert(window or {"kind": "unknown"}, DataWindow),
            parameters=given,
            privacy=msgspec.convert(definition.internal_parameters.get("privacy", {}), dict[str, Any]),
            evaluation=next((r.annotations for r in run.byproducts if r.name == "evaluation"), {}),
            code=run.builder.version,
            started=run.metadata.started,
            finished=run.metadata.finished,
        )
    except msgspec.ValidationError as error:
        raise AttestationInvalid(f"the statement of {bundle}: {error}", hint="it is of another version") from error
