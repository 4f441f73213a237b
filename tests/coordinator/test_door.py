"""The port that devices see passes on the calls of nodes, and nothing that starts runs."""

import ssl

import httpx
import pytest

from coordinator.shell.door import BODY_BYTES_MAX
from tests.coordinator.fleet import Coordinator


@pytest.fixture
def client(place: Coordinator) -> httpx.Client:
    trust = ssl.create_default_context(cafile=place.ca)
    return httpx.Client(base_url=place.running.endpoints.registry, verify=trust, trust_env=False)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/runtime/pull-task-input",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/..%2fcontrol%2fstart-run",
        "/v1/fleet/x/../../control/start-run",
        "/docs",
        "/",
    ],
)
def test_calls_that_start_runs_do_not_pass(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content=b"")
    assert answer.status_code in {404, 405}


def test_an_unsigned_call_of_a_node_is_the_superlinks_to_refuse(client: httpx.Client) -> None:
    answer = client.post("/v1/fleet/pull-messages", content=b"", headers={"content-type": "application/x-protobuf"})
    assert answer.status_code in {400, 401, 403, 415, 422}


def test_the_superlink_itself_listens_on_loopback_only(place: Coordinator) -> None:
    assert place.running.endpoints.control.startswith("127.0.0.1:")
    assert place.running.endpoints.superlink == place.running.endpoints.registry.removeprefix("https://")


def test_a_body_above_the_limit_is_cut_off(client: httpx.Client) -> None:
    assert client.post("/v1/fleet/push-object", content=bytes(BODY_BYTES_MAX + 1)).status_code == 413


def test_the_registry_is_served_with_ranges(place: Coordinator, client: httpx.Client) -> None:
    whole = client.get("/metadata/1.root.json")
    part = client.get("/metadata/1.root.json", headers={"range": "bytes=0-9"})
    assert whole.status_code == 200
    assert (part.status_code, part.content) == (206, whole.content[:10])


@pytest.mark.parametrize("path", ["/keys/root.key", "/metadata/../keys/ca.key", "/metadata/..%2f..%2fkeys/ca.key"])
def test_no_key_is_served(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404
