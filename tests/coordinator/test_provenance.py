"""What is attested of a bundle: a statement that says the same after a round trip, signed, and about one file only."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner

from coordinator.errors import AttestationInvalid
from coordinator.provenance import DataWindow, Made, made_of, pack, statement, unpack
from coordinator.shell.attesting import opened, seal

texts = st.text(max_size=12)
VERSIONS = st.dictionaries(
    st.from_regex(r"[0-9]\.[0-9]\.[0-9]", fullmatch=True), st.just("ab" * 32) | st.just(""), max_size=3
)
MADE = st.builds(
    Made,
    run=st.just("") | st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True),
    rounds=st.lists(st.integers(1, 9), max_size=3).map(tuple),
    parents=VERSIONS,
    window=st.builds(DataWindow, kind=texts, since=texts, until=texts, devices=st.integers(0, 10**6)),
    parameters=st.dictionaries(st.sampled_from(["strategy", "seed", "rule"]), texts | st.integers(0, 99)),
    privacy=st.dictionaries(st.sampled_from(["epsilon", "delta", "unit"]), st.floats(0, 9) | texts),
    evaluation=st.dictionaries(st.sampled_from(["loss_before", "loss_after"]), st.floats(0, 9)),
    code=st.dictionaries(texts, texts, max_size=2),
    started=texts,
    finished=texts,
)
TARGET, SHA256 = "bundles/context-1.0.1.edgeward", "cd" * 32


@given(MADE)
def test_a_statement_says_the_same_after_it_was_written_and_read(made: Made) -> None:
    raw = pack(statement("context", TARGET, SHA256, made))
    assert made_of(unpack(raw, "x")) == made
    assert pack(unpack(raw, "x")) == raw


def test_a_statement_has_the_form_of_in_toto_and_slsa() -> None:
    document = json.loads(
        pack(statement("context", TARGET, SHA256, Made(run="r1", rounds=(1, 2), parents={"1.0.0": "ab" * 32})))
    )
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["subject"] == [{"name": TARGET, "digest": {"sha256": SHA256}}]
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    predicate = document["predicate"]
    assert set(predicate) == {"buildDefinition", "runDetails"}
    assert predicate["buildDefinition"]["externalParameters"]["rounds"] == [1, 2]
    assert predicate["buildDefinition"]["resolvedDependencies"][0] == {
        "name": "context 1.0.0",
        "digest": {"sha256": "ab" * 32},
    }
    assert predicate["runDetails"]["metadata"]["invocationId"] == "r1"


def test_an_envelope_is_opened_by_its_key_and_for_its_file_only() -> None:
    mine, other = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
    raw = seal(statement("context", TARGET, SHA256, Made(run="r1")), [mine])
    assert made_of(opened(raw, [mine.public_key], 1, TARGET, SHA256)).run == "r1"
    for keys, target, digest in (
        ([other.public_key], TARGET, SHA256),
        ([mine.public_key], "bundles/context-1.0.2.edgeward", SHA256),
        ([mine.public_key], TARGET, "ef" * 32),
    ):
        with pytest.raises(AttestationInvalid):
            opened(raw, keys, 1, target, digest)


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner)).map(
        lambda value: json.dumps(value).encode()
    )
    | st.builds(
        lambda a, b: json.dumps({"payload": a, "payloadType": b, "signatures": [{"sig": a, "keyid": b}]}).encode(),
        texts,
        texts,
    )
)
def test_any_bytes_are_an_attestation_or_are_refused(raw: bytes) -> None:
    with pytest.raises(AttestationInvalid):
        opened(raw, [KEY], 1, TARGET, SHA256)


KEY = CryptoSigner.generate_ed25519().public_key
