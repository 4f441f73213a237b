"""Enrolment where the broker asks for no certificate: the embedded one."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from coordinator.cli import main
from coordinator.shell.invitations import Invitations
from edge_agent.errors import SettingsMalformed
from edge_agent.settings import load
from edge_agent.shell.enrolment import enrol, renew
from tests.coordinator.fleet import Coordinator


def test_a_device_comes_in_without_a_certificate_and_is_told_so(place: Coordinator, tmp_path: Path) -> None:
    token = str(Invitations(place.home).make(1, 600.0, device="plain-1")[0])
    path, url = tmp_path / "agent.toml", place.running.endpoints.registry
    done = enrol(url, token, path, device="plain-1", state_dir=tmp_path, profile=None, fresh=False)
    settings = load(path, {})
    assert (done.certificate_ends_ms, settings.broker.cert) == (0, "")
    assert settings.broker.url == place.running.endpoints.broker
    assert Path(settings.superlink.node_key).exists()
    assert "plain-1" in {device.name for device in place.store.devices()}
    with pytest.raises(SettingsMalformed, match=r"broker\.cert"):
        renew(path, {}, force=True)


def test_what_the_embedded_broker_cannot_do_is_said(place: Coordinator) -> None:
    done = CliRunner().invoke(main, ["fleet", "acl", "--for", "embedded", "--home", str(place.home)])
    assert done.exit_code == 2
    assert "CRD705" in done.stderr
    assert "--broker mosquitto" in done.stderr
