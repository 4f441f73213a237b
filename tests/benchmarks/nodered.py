"""`python -m tests.benchmarks.nodered --json`: the same flow on Node-RED, side by side on one broker.

MQTT in, the same ONNX model, MQTT out, QoS 1 both ways. Node-RED comes from npm, with its own Node.js and with
onnxruntime-node in a function node (`functionGlobalContext`), into `.bench/nodered` (about 600 MB, once). It keeps
nothing: no durability, no profile, no ledger. Blocks alternate Node-RED, agent, Node-RED …

Both Node-RED's sockets and mosquitto's send at once here (TCP_NODELAY). As both are shipped, a QoS 1 message that comes
alone is answered after 44 to 92 ms: Nagle's algorithm holds the second small packet back until the other side's kernel
has acknowledged the first. The agent asks its kernel for quick acknowledgements; `stock` is Node-RED as it is shipped.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from coordinator.shell import broker as brokers
from models.bundle import open_bundle
from tests.benchmarks import load
from tests.benchmarks.echo import WINDOW, decisions, p99_of, ratio, spread
from tests.benchmarks.floor import FIELDS

HOME = Path(__file__).parents[2] / ".bench" / "nodered"
NODE = f"node-linux-{'arm64' if platform.machine() == 'aarch64' else 'x64'}"
PACKAGES = {NODE: "22", "node-red": "5", "onnxruntime-node": "1"}
INSTALL_S = 600
STOCK_COUNT = 100
Side = tuple[load.Driver, str, int]
"""(driver, topic of events, process id)."""
SETTINGS = """
const ort = require("onnxruntime-node");
const fs = require("fs");
if (process.env.BENCH_NODELAY === "yes") {
    const net = require("net"), connect = net.Socket.prototype.connect;
    net.Socket.prototype.connect = function (...given) { this.setNoDelay(true); return connect.apply(this, given); };
}
const given = JSON.parse(fs.readFileSync(process.env.BENCH_WEIGHTS));
const weights = Object.fromEntries(
    Object.entries(given).map(([name, w]) => [name, new ort.Tensor("float32", Float32Array.from(w.values), w.shape)]));
// One thread, as on the other side.
const session = ort.InferenceSession.create(
    process.env.BENCH_GRAPH, { intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: "sequential" });
module.exports = {
    uiPort: +process.env.BENCH_PORT, uiHost: "127.0.0.1", httpAdminRoot: false, httpNodeRoot: false,
    credentialSecret: false, flowFile: "flows.json", telemetry: { enabled: false },
    logging: { console: { level: "warn" } },
    // A function node has a Float32Array of its own kind, which onnxruntime does not take: tensors are made here.
    functionGlobalContext: {
        weights, session, row: (values) => new ort.Tensor("float32", Float32Array.from(values), [1, values.length]),
    },
};
"""
FUNCTION = """
const session = await global.get("session");
const event = msg.payload;
const feeds = { INPUT: global.get("row")([FIELDS]) };
for (const [name, tensor] of Object.entries(global.get("weights")))
    if (session.inputNames.includes(name)) feeds[name] = tensor;
const { score } = await session.run(feeds, ["score"]);
return { payload: { id: event.id, score: score.data[0] }, qos: 1 };
"""


def flow(port: int, row: str, name: str) -> list[dict[str, object]]:
    """The flow as Node-RED's editor would save it."""
    fields = ", ".join(f"event.{field}" for field in FIELDS)
    body = FUNCTION.replace("INPUT", json.dumps(row)).replace("FIELDS", fields)
    line = {"broker": "127.0.0.1", "port": str(port), "clientid": name, "keepalive": "60", "cleansession": False}
    no_words = dict.fromkeys(("birthTopic", "closeTopic", "willTopic"), "")
    return [
        {"id": "tab", "type": "tab", "label": "bench"},
        {"id": "line", "type": "mqtt-broker", "name": "", "protocolVersion": "5", **line, **no_words},
        {"id": "in", "type": "mqtt in", "z": "tab", "topic": f"bench/{name}/in", "qos": "1", "datatype": "json",
         "broker": "line", "wires": [["model"]]},
        {"id": "model", "type": "function", "z": "tab", "func": body, "outputs": 1, "libs": [], "wires": [["out"]]},
        {"id": "out", "type": "mqtt out", "z": "tab", "topic": f"bench/{name}/out", "qos": "1", "retain": "false",
         "broker": "line", "wires": []},
    ]  # fmt: skip


def install() -> dict[str, str]:
    """Have Node-RED in `.bench/nodered`; returns what is there. Nothing but npm's registry is asked."""
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "package.json").write_text(json.dumps({"private": True, "dependencies": PACKAGES}))
    modules = HOME / "node_modules"
    if not all((modules / name / "package.json").exists() for name in PACKAGES):
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("error: npm is missing\n  fix: apt-get install npm")
        print("nodered: npm install (once; about a minute)", file=sys.stderr)
        # The packages hold all that is needed; their install scripts would only fetch more.
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=HOME, check=True, timeout=INSTALL_S, stdout=sys.stderr)
    return {name: json.loads((modules / name / "package.json").read_text())["version"] for name in PACKAGES}


@contextmanager
def nodered(name: str, workplace: Path, port: int, *, nodelay: bool) -> Iterator[int]:
    """The process id of a Node-RED with the flow from `bench/{name}/in` to `bench/{name}/out`."""
    folder = workplace / name
    folder.mkdir(parents=True)
    bundle = open_bundle(load.BUNDLE)
    (folder / "predict.onnx").write_bytes(bundle.read("predict.onnx"))
    weights = {
        name: {"shape": value.shape, "values": value.ravel().tolist()} for name, value in bundle.weights().items()
    }
    (folder / "weights.json").write_text(json.dumps(weights))
    (folder / "settings.js").write_text(SETTINGS)
    (folder / "flows.json").write_text(json.dumps(flow(port, bundle.spec.inputs[0].name, name)))
    # What settings.js requires is looked for beside it.
    (folder / "node_modules").symlink_to(HOME / "node_modules")
    environment = {
        **os.environ,
        "BENCH_GRAPH": str(folder / "predict.onnx"),
        "BENCH_WEIGHTS": str(folder / "weights.json"),
        "BENCH_PORT": str(brokers.free_port()),
        "BENCH_NODELAY": "yes" if nodelay else "",
        "ORT_DISABLE_TELEMETRY": "1",
        "NODE_ENV": "production",
    }
    command = (
        str(HOME / "node_modules" / NODE / "bin" / "node"),
        str(HOME / "node_modules" / "node-red" / "red.js"),
        "--userDir",
        str(folder),
        "--settings",
        str(folder / "settings.js"),
    )
    with load.process(*command, log=folder / "nodered.log", environment=environment) as running:
        yield running.pid


def measure(blocks: int, count: int, seconds: float) -> dict[str, object]:
    """All figures of one run."""
    there = install()
    with load.workplace() as folder, load.broker("mosquitto", folder, "set_tcp_nodelay true\n") as port:
        with nodered("stock", folder, port, nodelay=False) as pid:
            stock = {"nodered": _driver(port, "stock", pid)}
            stock_ms, stock_rate, _ = _blocks(stock, 1, STOCK_COUNT, seconds)
        settings = load.write_agent(folder / "agent", port)
        with (
            nodered("nodered", folder, port, nodelay=True) as pid,
            load.process(*load.agent_command(settings), log=folder / "agent.log") as agent,
        ):
            drivers = {
                "nodered": _driver(port, "nodered", pid),
                "agent": _driver(port, load.DEVICE, agent.pid, decisions()),
            }
            latency, rate, cpu = _blocks(drivers, blocks, count, seconds)
    p50 = {side: [statistics.median(block) for block in blocks] for side, blocks in latency.items()}
    p99 = {side: [p99_of(block) for block in blocks] for side, blocks in latency.items()}
    return {
        "ratio_throughput": ratio(rate["agent"], rate["nodered"]),
        "ratio_p99": ratio(p99["agent"], p99["nodered"]),
        "ratio_cpu": ratio(cpu["agent"], cpu["nodered"]),
        "ratio_p50": ratio(p50["agent"], p50["nodered"]),
        "p50_ms": {side: spread(values) for side, values in p50.items()},
        "p99_ms": {side: spread(values) for side, values in p99.items()},
        "throughput_per_s": {side: spread(values) for side, values in rate.items()},
        "cpu_us_per_message": {side: spread(values) for side, values in cpu.items()},
        "stock": {
            "p50_ms": round(statistics.median(stock_ms["nodered"][0]), 4),
            "p99_ms": round(p99_of(stock_ms["nodered"][0]), 4),
            "throughput_per_s": round(stock_rate["nodered"][0], 1),
        },
        "samples": {"blocks": blocks, "closed_loop_per_block": count, "open_loop_window": WINDOW},
        "broker": "mosquitto, set_tcp_nodelay true",
        "model": load.BUNDLE.name,
        "weights": "fed as inputs on both sides, where the graph asks for them",
        "versions": {
            **there,
            **{name: version(name) for name in ("edgeward", "paho-mqtt", "onnxruntime", "msgspec", "iotcore")},
        },
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "arch": platform.machine()},
    }


def _driver(port: int, name: str, pid: int, back: str = "") -> Side:
    """A client that drives one side, once that side is warm, its compiler too."""
    driver, to = load.Driver(port, f"driver-{name}"), f"bench/{name}/in"
    driver.listen(back or f"bench/{name}/out")
    driver.warm(to)
    driver.open_loop(to, 1.0, WINDOW)
    return driver, to, pid


def _blocks(
    sides: dict[str, Side], blocks: int, count: int, seconds: float
) -> tuple[dict[str, list[list[float]]], dict[str, list[float]], dict[str, list[float]]]:
    """Latencies (ms), rates (1/s) and CPU a message (µs) of alternating blocks, by side."""
    latency: dict[str, list[list[float]]] = {side: [] for side in sides}
    rate: dict[str, list[float]] = {side: [] for side in sides}
    cpu: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(blocks):
        for side, (driver, to, _) in sides.items():
            latency[side].append(driver.closed_loop(to, count))
    for _ in range(blocks):
        for side, (driver, to, pid) in sides.items():
            seen, before = driver.answers, load.cpu_s(pid)
            rate[side].append(driver.open_loop(to, seconds, WINDOW))
            cpu[side].append((load.cpu_s(pid) - before) / max(1, driver.answers - seen) * 1e6)
    for driver, *_ in sides.values():
        driver.close()
    return latency, rate, cpu


def main() -> None:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--count", type=int, default=400, help="messages in a closed-loop block")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of an open-loop block")
    given = parser.parse_args()
    found = measure(given.blocks, given.count, given.seconds)
    if not given.json:
        for name in ("ratio_p50", "ratio_p99", "ratio_throughput"):
            print(f"{name:<18} {found[name]}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
