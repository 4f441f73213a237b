"""`python -m tests.firmware_configs.officer_example`: makes `examples/officer`, what an officer tries the commands on.

A real agent with two made-up people, on a real broker that is listened to, then one of them is erased. The key that
signed is thrown away; what is written holds hashes, sizes and purposes, and one made-up name in the erased person's own
copy of the receipt.
"""

import shutil
import tempfile
import threading
import time
from pathlib import Path

from coordinator.shell.arrivals import listen
from edge_agent.limits import DAY_MS
from edge_agent.shell.sealer import seal
from tests.edge_agent.erasure_home import ANNA, BERT, DEVICE, agent, home, lived_in
from tests.edge_agent.house import HOME

OUT = Path(__file__).parents[2] / "examples" / "officer"
WIDER = (
    ('version = "1.0.0"', 'version = "1.1.0"'),
    ('"user.behavior" = { days = 90 }', '"user.behavior" = { days = 180 }'),
    ('transform = { kind = "round", step = 5.0 }', 'transform = { kind = "round", step = 1.0 }'),
    (", secret_sum = true", ""),
    ("k_min = 3", "k_min = 2"),
)
"""What the example's next version asks for: longer, finer, of fewer devices, and each device's update to be seen."""


def main() -> None:
    """Write the folder."""
    OUT.mkdir(parents=True, exist_ok=True)
    text = HOME
    for old, new in WIDER:
        text = text.replace(old, new, 1)
    (OUT / "home-gateway-1.1.0.toml").write_text(text)
    with tempfile.TemporaryDirectory() as folder, home(Path(folder)) as one:
        over = threading.Event()
        record = one.folder / "record.jsonl"
        url = f"mqtt://127.0.0.1:{one.port}"
        lights = [f"home/{DEVICE}/lights/set"]
        ear = threading.Thread(target=listen, args=(url, one.folder, record, [DEVICE], over.is_set, lights))
        ear.start()
        time.sleep(1.0)
        with agent(one):
            lived_in(one, 4)
            receipt = one.folder / "receipt.json"
            done = one.cli("subject", "erase", ANNA, "--settings", str(one.settings), "--out", str(receipt), "--yes")
            if done.returncode:
                raise SystemExit(done.stdout + done.stderr)
            one.picks(BERT, BERT, 2)
            time.sleep(2.0)
        time.sleep(1.0)
        over.set()
        ear.join()
        seal(one.state, DEVICE, one.state / "node.key", int(time.time() * 1_000) + DAY_MS)
        done = one.cli("ledger", "export", "--state-dir", str(one.state), "--out", str(OUT / "home-1.ledger"))
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        shutil.copy(one.state / "node.pub", OUT / "home-1.pub")
        shutil.copy(receipt, OUT / "receipt.json")
        shutil.copy(record, OUT / "record.jsonl")


if __name__ == "__main__":
    main()
