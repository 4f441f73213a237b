"""Devices with Flower's own SuperNode in place of our learner, on the same examples, within the same profile."""

import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from coordinator.shell import flower
from coordinator.shell.broker import free_port
from edge_agent.effects import Put
from edge_agent.shell.store import Store as DeviceStore
from edge_agent.shell.writes import Writes
from firmware_configs.messages import Consent
from tests.coordinator.fleet import CONTEXT, Coordinator, Device

PROFILES = Path(__file__).parents[2] / "firmware_configs" / "profiles"


def settle(device: Device, ca: str, *, broker: str = "mqtt://127.0.0.1:1883", federated: bool = True) -> Path:
    """What `edge-agent run` would find on the device: a profile, settings, a person's consent; returns agent.toml."""
    profile = (PROFILES / "home-gateway.toml").read_text()
    shared = profile.replace(
        'purposes = ["comfort"]\nexamples_max',
        f'purposes = ["comfort"]\nfederated = {str(federated).lower()}\nexamples_max',
    )
    assert shared != profile
    plain = shared.replace("k_min = 3", "k_min = 1").replace(", secret_sum = true", "")
    (device.folder / "profile.toml").write_text(plain)
    settings = device.folder / "agent.toml"
    settings.write_text(
        f'device = "{device.name}"\nstate_dir = "{device.folder}"\nprofile = "{device.folder}/profile.toml"\n'
        f'bundles = ["{CONTEXT}"]\nallow_unsigned = true\n'
        f'[broker]\nurl = "{broker}"\n[superlink]\nca = "{ca}"\nnode_key = "{device.key}"\n'
    )
    word = msgspec.msgpack.encode(Consent(purposes={"improve-models": True, "comfort": True}, time_ms=1))
    writes = Writes()
    writes.add([Put(room="consent", key=subject, value=word) for subject in device.subjects])
    counted = msgspec.msgpack.encode({"examples.context": 1})
    writes.add([Put(room="meta", key="counters", value=counted)])
    store = DeviceStore(device.database, 64)
    assert store.commit(writes, durable=False)
    store.close()
    return settings


def seed_of(device: Device) -> bytes:
    """The seed that `Device.task` gives."""
    return hashlib.sha256(device.name.encode()).digest()


@contextmanager
def supernodes(
    place: Coordinator, devices: Sequence[Device], *, seed: bytes = b"", federated: bool = True
) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """A `flower-supernode` for each device, which starts a SuperExec, which starts a ClientApp for each message.

    Args:
        seed: for each device; empty: that of its name, as `Device.task` gives it.
    """
    running: list[subprocess.Popen[bytes]] = []
    try:
        for device in devices:
            settings = settle(device, place.ca, federated=federated)
            env = {**flower.environment(device.folder), "OPENBLAS_NUM_THREADS": "1", "FLWR_LOG_LEVEL": "INFO"}
            command = [flower.script("flower-supernode"), "--root-certificates", place.ca]
            command += ["--superlink", place.running.endpoints.superlink, "--port", str(free_port("127.0.0.1"))]
            command += ["--auth-supernode-private-key", str(device.key)]
            command += ["--node-config", f'settings="{settings}" seed="{(seed or seed_of(device)).hex()}"']
            with (device.folder / "supernode.log").open("wb") as log:
                running.append(
                    subprocess.Popen(
                        command,
                        stdout=log,
                        stderr=log,
                        stdin=subprocess.DEVNULL,
                        env=env,
                        start_new_session=True,
                    )
                )
        yield running
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
