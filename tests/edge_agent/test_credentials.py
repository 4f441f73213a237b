"""Secrets from systemd's credentials: named like files, found where systemd puts them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import credentials
from edge_agent.errors import SenderUnfit, SettingsMalformed
from edge_agent.settings import load
from edge_agent.shell.sender import first_line

TEXT = 'device = "d"\nstate_dir = "s"\n[broker]\nuser = "d"\npassword_file = "credential:broker"\n'


def written(tmp_path: Path, text: str = TEXT) -> Path:
    (tmp_path / "agent.toml").write_text(text)
    return tmp_path / "agent.toml"


def test_a_credential_is_read_where_systemd_puts_it(tmp_path: Path) -> None:
    kept = tmp_path / "credentials"
    kept.mkdir()
    (kept / "broker").write_text("secret\n")
    found = load(written(tmp_path), {"CREDENTIALS_DIRECTORY": str(kept)})
    assert found.broker.password_file == str(kept / "broker")


def test_one_that_is_not_there_says_how_to_give_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsMalformed, match="LoadCredential"):
        load(written(tmp_path), {})


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", ".hidden", "a/b", "a\\u0000b"])
def test_a_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsMalformed, match="no name of a credential"):
        load(written(tmp_path, TEXT.replace("credential:broker", f"credential:{name}")), {})


def test_a_mode_that_others_may_read_is_borne_only_where_systemd_keeps_an_access_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "relay"
    path.write_text("secret\n")
    path.chmod(0o440)
    with pytest.raises(SenderUnfit):
        first_line(str(path))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert first_line(str(path)) == "secret"


@given(st.text(max_size=40))
def test_any_text_is_a_file_a_credential_or_refused(text: str) -> None:
    try:
        found = credentials.place(f"credential:{text}", {"CREDENTIALS_DIRECTORY": "/c"})
    except ValueError:
        return
    assert found is not None
    assert found.parent == Path("/c")
    assert credentials.place(text, {}) is None or text.startswith("credential:")
