"""Settings: strict, with the place of what is wrong; from file and environment; the reference cannot lie."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import reference
from edge_agent.errors import SettingsMalformed
from edge_agent.settings import Broker, load
from firmware_configs.reference import FOLDER

LEAST = 'device = "d1"\nstate_dir = "state"\n'


def settings(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def test_two_lines_are_enough_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    held = load(settings(tmp_path, LEAST), {})
    assert (held.state_dir, held.broker.host, held.broker.port) == (str(tmp_path / "state"), "127.0.0.1", 1883)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('devise = "d1"\nstate_dir = "s"\n', ["devise", "device"]),
        (LEAST + '[broker]\nurll = "x"\n', ["broker", "urll", "url"]),
        (LEAST + '[broker]\nurl = "http://x"\n', ["broker.url"]),
        (LEAST + '[broker]\nurl = "mqtt://h:99999"\n', ["broker.url"]),
        (LEAST + '[broker]\nca = "x.pem"\n', ["mqtts://"]),
        (LEAST + '[broker]\nurl = "mqtts://h"\ncert = "x.pem"\n', ["cert", "key"]),
        (LEAST + '[broker]\nurl = "mqtts://h"\nca = "x.pem"\n', ["broker.ca", "no file"]),
        (LEAST + "batch_max = 0\n", ["batch_max"]),
        (LEAST + '[web]\nlisten = "0.0.0.0:80"\n', ["web", "in the clear", "cert"]),
        (LEAST + '[web]\nlisten = "127.0.0.1:99999"\n', ["web.listen", "99999"]),
        (LEAST + '[web]\nlisten = "8477"\n', ["web.listen"]),
        (LEAST + '[web]\ncert = "x.pem"\n', ["web", "cert", "key"]),
        ('device = "a/b"\nstate_dir = "s"\n', ["device"]),
        ("device = \n", ["line 1"]),
        ("", ["device"]),
    ],
)
def test_what_is_wrong_is_named_with_its_fix(tmp_path: Path, text: str, names: list[str]) -> None:
    with pytest.raises(SettingsMalformed) as caught:
        load(settings(tmp_path, text), {})
    for name in names:
        assert name in f"{caught.value.what} {caught.value.hint}"
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsMalformed, match=r"agent\.toml"):
        load(tmp_path / "agent.toml", {})


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    environment = {
        "EDGE_AGENT_BROKER__URL": "mqtt://hub:2883",
        "EDGE_AGENT_BATCH_MAX": "7",
        "EDGE_AGENT_RECORD": "true",
        "EDGE_AGENT_BUNDLES": "a.edgeward:b.edgeward",
        "HOME": "elsewhere",
    }
    held = load(settings(tmp_path, LEAST), environment)
    assert (held.broker.host, held.broker.port, held.batch_max, held.record) == ("hub", 2883, 7, True)
    assert held.bundles == (str(tmp_path / "a.edgeward"), str(tmp_path / "b.edgeward"))


@pytest.mark.parametrize("name", ["EDGE_AGENT_BROKR__URL", "EDGE_AGENT_BATCH_MAX", "EDGE_AGENT_BROKER__URL__X"])
def test_a_wrong_variable_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsMalformed, match=name):
        load(settings(tmp_path, LEAST), {name: "many"})


@given(st.binary(max_size=200))
def test_whatever_the_file_holds_the_answer_is_settings_or_an_error(raw: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.toml"
        path.write_bytes(LEAST.encode() + raw)
        try:
            load(path, {})
        except SettingsMalformed as error:
            assert error.hint


def test_the_committed_reference_is_what_the_structs_say() -> None:
    assert (FOLDER / reference.NAME).read_bytes() == reference.content(), "run `make reference`"


def test_the_reference_loads() -> None:
    assert load(FOLDER / reference.NAME, {}).device == "gateway-1"


@pytest.mark.parametrize("name", ["EDGE_AGENT_SETTINGS", "EDGE_AGENT_REASON", "EDGE_AGENT_TOKEN"])
def test_a_variable_of_the_commands_is_no_setting(tmp_path: Path, name: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(f'device = "a"\nstate_dir = "{tmp_path}"\n')
    assert load(file, {name: "incident 7"}).device == "a"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("mqtt://h", (False, False, "h", 1883, "/mqtt")),
        ("mqtts://h", (True, False, "h", 8883, "/mqtt")),
        ("ws://h", (False, True, "h", 80, "/mqtt")),
        ("wss://h:9001/a/b?c=d", (True, True, "h", 9001, "/a/b?c=d")),
        ("mqtt://[::1]:2883", (False, False, "::1", 2883, "/mqtt")),
    ],
)
def test_a_broker_is_found_by_its_url(url: str, found: tuple[bool, bool, str, int, str]) -> None:
    broker = Broker(url=url)
    assert (broker.tls, broker.websockets, broker.host, broker.port, broker.path) == found


@pytest.mark.parametrize("line", ['url = "mqtt://h/path"', 'url = "http://h"', 'protocol = "4"', 'protocol = "3.1"'])
def test_a_transport_or_version_that_there_is_not_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(LEAST + f"[broker]\n{line}\n")
    with pytest.raises(SettingsMalformed, match=f"broker.{line.split(maxsplit=1)[0]}"):
        load(file, {})


def test_a_file_of_the_time_without_a_page_goes_on(tmp_path: Path) -> None:
    held = load(settings(tmp_path, LEAST + 'web = "off"\n'), {})
    assert held.web.address == "http://127.0.0.1:8477"


def test_a_proxy_that_adds_tls_lets_the_page_listen_in_the_clear(tmp_path: Path) -> None:
    text = LEAST + '[web]\nlisten = "[::]:80"\nplain = true\nurl = "https://home.example"\n'
    web = load(settings(tmp_path, text), {}).web
    assert (web.host, web.port, web.address) == ("::", 80, "https://home.example")
