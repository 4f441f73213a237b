"""A real agent, broker and relay: the loop never waits for a slow relay, and kill -9 in between shows a letter once."""

import os
import signal
import sqlite3
from pathlib import Path

from edge_agent.commands.telling import about
from edge_agent.shell import database
from edge_agent.shell.inspect import ledger_summary
from firmware_configs.messages import Topics
from tests.benchmarks.load import DEVICE, agent_command, broker, process, wait_for
from tests.edge_agent.shell.post_office import HOST, relay
from tests.edge_agent.shell.test_run import Ear, tell

PROFILE = """
schema = 1
name = "letters"
version = "1.0.0"
[device]
class = "home-gateway"
fleet = "homes"
[[purpose]]
name = "warn"
legal_basis = "contract"
consent = "not-needed"
text = "Your gateway warns you of water on the floor, by e-mail too."
[[source]]
name = "leak"
topic = "home/{device}/leak"
event_id = "id"
critical = true
[[source.field]]
name = "room"
type = "text"
category = "user.sensor"
purposes = ["warn"]
[retention]
"user.sensor" = { days = 1 }
[[egress]]
kind = "decision"
purposes = ["warn"]
bytes_day_max = 1_000_000
[[egress]]
kind = "email"
destination = "smtp"
purposes = ["warn"]
bytes_day_max = 1_000_000
fields = ["room"]
[[channel]]
name = "mail"
kind = "email"
adapter = "smtp"
[[placement]]
name = "warning"
trigger = { kind = "event", source = "leak" }
purposes = ["warn"]
expiry_s = 3600
candidate = [{ item = "water" }]
[placement.delivery]
channels = ["mail"]
importance = "critical"
title = "Water"
text = "There is water on the floor: {room}"
[[placement]]
name = "app"
trigger = { kind = "event", source = "leak" }
purposes = ["warn"]
candidate = [{ item = "water" }]
"""


def test_a_slow_relay_holds_nothing_up_and_a_letter_cut_off_by_kill_9_is_shown_once(tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_text(PROFILE)
    book = tmp_path / "book.toml"
    book.touch(mode=0o600)
    book.write_text('household = "home@home.example"\n')
    with broker("iotcore", tmp_path) as port, relay() as (office, mail):
        settings = tmp_path / "agent.toml"
        settings.write_text(
            f'device = "{DEVICE}"\nstate_dir = "{tmp_path / "state"}"\nprofile = "{tmp_path / "profile.toml"}"\n'
            f'broker = {{ url = "mqtt://127.0.0.1:{port}" }}\n[smtp]\nurl = "smtp://{HOST}:{mail}"\nplain = true\n'
            f'sender = "gateway@home.example"\naddresses_file = "{book}"\ntimeout_s = 20\n'
        )
        ear = Ear(port, f"{Topics(DEVICE).of('decision')}/#")
        office.slow_s = 2.0
        with process(*agent_command(settings), log=tmp_path / "log") as agent:
            wait_for(lambda: b"connected" in (tmp_path / "log").read_bytes(), "the agent")
            tell(port, {"id": "1", "room": "cellar"}, f"home/{DEVICE}/leak")
            wait_for(lambda: office.sessions == 1, "the sender")
            tell(port, {"id": "2", "room": "cellar"}, f"home/{DEVICE}/leak")
            wait_for(lambda: ear.count("decision/app") == 2, "the decision beside it")
            assert office.taken == [], "the relay has not answered yet"
            os.kill(agent.pid, signal.SIGKILL)
            agent.wait()
        office.slow_s = 0.0
        with process(*agent_command(settings), log=tmp_path / "log") as agent:
            wait_for(lambda: office.sessions >= 2 and len(office.taken) >= 2, "the letter, again")
            wait_for(lambda: not _waits(tmp_path), "the answer")
        ear.close()
        (message,) = office.shown.values()
        assert message.get_content().strip() == "There is water on the floor: cellar"
        told = "\n".join(about(tmp_path / "state", "", "", "warning").words)
        assert "channel mail: carries it" in told
        assert "mail: sent" in told
        assert ledger_summary(tmp_path / "state")["broken_at"] is None
        assert b"home@home.example" not in (tmp_path / "log").read_bytes()


def _waits(folder: Path) -> bool:
    with sqlite3.connect(f"file:{folder / 'state' / database.FILE}?mode=ro", uri=True) as connection:
        return bool(connection.execute("SELECT 1 FROM state WHERE room = 'letter'").fetchall())
