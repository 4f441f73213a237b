"""A malicious coordinator gets what the profile allows, and nothing leaves that the ledger does not know."""

import hashlib
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from firmware_configs import ledger
from firmware_configs.cli import main as audit
from tests.coordinator.fleet import Coordinator
from tests.redteam.demands import DEMANDS, Attack, Found

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def attack(place: Coordinator, tmp_path_factory: pytest.TempPathFactory) -> Attack:
    return Attack(place, tmp_path_factory.mktemp("demands"))


@pytest.fixture(scope="module")
def found(attack: Attack) -> Found:
    return attack.found()


@pytest.mark.parametrize("demand", DEMANDS)
def test_what_goes_beyond_the_profile_is_refused_and_the_refusal_entered(found: Found, demand: str) -> None:
    (met,) = [one for one in found.devices if one.asked == demand]
    assert met.as_it_should, met
    refusal = "update: a refusal: an error code and its text"
    assert (met.entered == (refusal,)) == DEMANDS[demand].refused, met
    assert len(met.entered) == 1


def test_a_larger_norm_is_answered_within_the_devices_own(found: Found) -> None:
    (met,) = [one for one in found.devices if one.asked == "a larger clipping norm"]
    assert "clip 0.01" in met.entered[0]


def test_a_false_statement_is_entered_as_the_coordinators_word(found: Found) -> None:
    """The device cannot know better: this attack wins, and the ledger says whose word it was."""
    (met,) = [one for one in found.devices if one.asked == "a false statement of privacy"]
    assert "the coordinator states ε = 0.1" in met.entered[0]


def test_code_that_is_sent_is_not_executed(found: Found) -> None:
    assert found.executed == 0


def test_every_byte_on_the_wire_is_in_the_ledger(found: Found) -> None:
    assert found.bytes_on_the_wire > 1_000
    assert found.bytes_on_the_wire == found.bytes_in_the_ledgers
    assert found.undeclared_bytes == 0


def test_the_auditors_command_reconciles_and_finds_what_was_left_out(attack: Attack, tmp_path: Path) -> None:
    record, books = tmp_path / "record.jsonl", tmp_path / "asked-0.ledger"
    attack.heard.record(record, attack.nodes["honest"])
    evidence = attack.keepers["honest"].evidence()
    books.write_bytes(msgspec.msgpack.encode(evidence))
    done = CliRunner().invoke(audit, ["ledger", "reconcile", str(books), "--record", str(record), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["undeclared_bytes"] == 0

    sent = attack.heard.payloads(attack.nodes["honest"])[0]
    own = [one for one in evidence.rows if ledger.unpack(one).sha256 != hashlib.sha256(sent).hexdigest()]
    books.write_bytes(msgspec.msgpack.encode(msgspec.structs.replace(evidence, rows=tuple(own))))
    done = CliRunner().invoke(audit, ["ledger", "reconcile", str(books), "--record", str(record), "--json"])
    assert done.exit_code == 1
    assert json.loads(done.output)["undeclared_bytes"] == len(sent)


def test_without_the_ledgers_word_bytes_leave_undeclared_and_the_books_say_so(
    place: Coordinator, tmp_path: Path
) -> None:
    """The control: devices that let everything out and enter nothing; the same demands win, and are found."""
    control = Attack(place, tmp_path, bypass=True, kinds=("honest", "a larger clipping norm")).found()
    assert all(not one.refused and one.entered == () for one in control.devices)
    assert control.bytes_in_the_ledgers == 0
    assert control.undeclared_bytes == control.bytes_on_the_wire > 1_000
