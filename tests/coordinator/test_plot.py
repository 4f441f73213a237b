"""Pictures of a run: what is drawn, what is not and why, and that the page stands by itself."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.cli import main
from coordinator.rounds import NEXT, Round
from coordinator.shell import charts
from coordinator.shell.charts import Drawn
from coordinator.shell.plotting import page
from tests.coordinator.written import PRIVATE, begin, row, spend

RUN = "20270115-080000-abcdef"


def plot(home: Path, out: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["rounds", "plot", RUN, "--out", str(out), "--home", str(home), *words])


def filled(home: Path, *, private: bool = False) -> None:
    store = begin(home, RUN, PRIVATE if private else None)
    store.put_round(row(RUN, 1, state="abandoned", reports=1, reason="<b>1</b> of 10"))
    store.put_round(row(RUN, 1, attempt=2))
    for number in (2, 3):
        store.put_round(row(RUN, number))
    if private:
        for number in (1, 2, 3):
            store.put_round(row(RUN, number, attempt=3 - number % 2, loss_before=0.0, loss_after=0.0))
        spend(home, RUN, [1, 2, 3])


def test_a_png_has_loss_participation_and_bytes(tmp_path: Path) -> None:
    filled(tmp_path)
    done = plot(tmp_path, tmp_path / "rounds.png", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["drawn"] == ["loss", "participation", "bytes"]
    assert told["missing"].startswith("ε")
    raw = (tmp_path / "rounds.png").read_bytes()
    assert raw.startswith(b"\x89PNG")
    assert int.from_bytes(raw[16:20]) == 780
    plot(tmp_path, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == raw


def test_a_page_stands_by_itself_and_has_every_number_as_text(tmp_path: Path) -> None:
    filled(tmp_path)
    assert plot(tmp_path, tmp_path / "rounds.html").exit_code == 0
    page = (tmp_path / "rounds.html").read_text()
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!#)", page)
    assert "url(http" not in page
    assert 'name="viewport" content="width=device-width' in page
    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    drawn = ET.fromstring(svg)  # noqa: S314 - our own
    assert drawn.get("role") == "img"
    assert "loss, participation, bytes by round" in (drawn.get("aria-label") or "")
    cells = re.findall(r"<tr><td>(.*?)</td></tr>", page)
    assert [line.split("</td><td>")[:4] for line in cells] == [
        ["1", "abandoned", "10", "1"],
        ["1.2", "published", "10", "8"],
        ["2", "published", "10", "8"],
        ["3", "published", "10", "8"],
    ]
    assert "0.5000 → 0.4500" in cells[2]
    assert "123,456</td><td>456,789" in cells[2]
    assert "&lt;b&gt;1&lt;/b&gt; of 10" in cells[0]


def test_a_private_run_has_its_epsilon_and_says_that_no_loss_is_told(tmp_path: Path) -> None:
    filled(tmp_path, private=True)
    done = plot(tmp_path, tmp_path / "rounds.html", "--json")
    assert json.loads(done.stdout)["drawn"] == ["participation", "bytes", "epsilon"]
    page = (tmp_path / "rounds.html").read_text()
    assert "Not drawn: loss" in page
    shown = [float(value) for value in re.findall(r"<td>(\d\.\d{3})</td>", page)]
    assert len(shown) == 3
    assert shown == sorted(shown)
    listed = json.loads(CliRunner().invoke(main, ["rounds", "ls", "--json", "--home", str(tmp_path)]).stdout)
    assert f"{listed[0]['epsilon']:.3f}" == f"{shown[-1]:.3f}"
    assert "ε = " in CliRunner().invoke(main, ["rounds", "ls", "--home", str(tmp_path)]).output


def test_the_list_of_runs_tells_bytes_up_and_down(tmp_path: Path) -> None:
    filled(tmp_path)
    text = CliRunner().invoke(main, ["rounds", "ls", "--home", str(tmp_path)]).output
    assert "loss 0.5000 → 0.4500  123.5 kB up, 456.8 kB down" in text


@pytest.mark.parametrize(
    ("name", "said"), [("rounds.pdf", "neither .png nor .html"), ("nowhere/rounds.png", "cannot be written")]
)
def test_what_cannot_be_written_is_said_with_the_fix(tmp_path: Path, name: str, said: str) -> None:
    filled(tmp_path)
    done = plot(tmp_path, tmp_path / name)
    assert done.exit_code == 1
    assert said in done.output
    assert "CRD110" in done.output
    assert "--out" in done.output
    assert list(tmp_path.glob("*rounds*")) == []


def test_a_run_without_rounds_has_no_picture_yet(tmp_path: Path) -> None:
    begin(tmp_path, RUN)
    done = plot(tmp_path, tmp_path / "rounds.png")
    assert "has no round yet" in done.output


ROUND = st.builds(
    Round,
    run=st.just(RUN),
    number=st.integers(1, 9_999),
    state=st.sampled_from(sorted(NEXT)),
    asked=st.sampled_from([0, 1, 10**6]),
    late=st.integers(0, 1),
    refused=st.integers(0, 1),
    bytes_up=st.sampled_from([0, 999, 2**62]),
    loss_before=st.sampled_from([0.0, -1e300, 0.5, float("inf"), float("nan")]),
    loss_after=st.sampled_from([0.0, 0.5, float("nan")]),
    reason=st.sampled_from(["", "$x_{", "</table>\x1b"]),
)


@settings(max_examples=10, deadline=None)
@given(st.lists(ROUND, min_size=1, max_size=4, unique_by=lambda row: row.number), st.booleans())
def test_any_sequence_of_round_states_can_be_drawn(rows: list[Round], private: bool) -> None:
    rows = sorted(rows, key=lambda row: row.number)
    drawn = Drawn(
        title="a $ b\nrun",
        rounds=tuple(rows),
        abandoned=tuple(row.number for row in rows if row.state == "abandoned"),
        epsilon={rows[0].number: float("inf")} if private else {},
    )
    assert charts.png(drawn).startswith(b"\x89PNG")
    assert page(drawn, rows).count("<table>") == 1
