"""What a model is worth with less data: the child that `edge-audit minimise` asks, a line of JSON for a line of JSON.

The auditor knows no model and this process knows no law. Each request names the fields that are kept, their
transforms, and how many days of the past; the answer is the accuracy on held-out rows, in percent, averaged over
seeds. A field that is not collected is a constant to the model, in training and when it is measured.
"""

import csv
import gzip
import math
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from firmware_configs.errors import EdgeError
from firmware_configs.profile import Bucket, CoarseLocation, Keep, KeyedHash, Round, Transform, TruncateTime
from models import evaluate
from models.build import Options
from models.errors import DatasetInvalid
from models.session import Predictor, TrainStep
from models.zoo import context

F32 = NDArray[np.float32]
DAY_S = 86_400.0
ROWS_MAX = 2_000_000


class Task(Struct, frozen=True, kw_only=True):
    """The first line: what there is to measure on."""

    model: str
    data: str
    test: str = ""
    """Rows that are looked at once, at the end; empty: the last fifth of `data`."""
    columns: tuple[str, ...] = ()
    """Names of the columns; empty: the file's first line."""
    label: str
    row_s: float = 60.0
    """Seconds between two rows: how many rows a day has."""
    seeds: int = 3


class Ask(Struct, frozen=True, kw_only=True):
    """One setting."""

    fields: dict[str, Transform]
    days: float
    on: Literal["validation", "test"] = "validation"


class Told(Struct, frozen=True, kw_only=True):
    """What the rows look like."""

    fields: tuple[str, ...]
    rows: int
    test_rows: int
    days: float
    values: dict[str, list[float]]
    """Field → a thousand of its values, ascending."""


class Answer(Struct, frozen=True, kw_only=True):
    """Accuracy in percent: mean and sample standard deviation over seeds."""

    accuracy: float
    sd: float = 0.0


class Worth:
    """Rows, and a model that is trained on some of them again for each setting."""

    def __init__(self, task: Task) -> None:
        """Read the rows.

        Raises:
            DatasetInvalid: no such model, no such column, or rows that are no numbers.
        """
        if task.model != "context":
            raise DatasetInvalid(
                f"`{task.model}` cannot be trained on a table of readings",
                hint="minimise a profile that runs `context`",
            )
        self._task = task
        x, y = _read(Path(task.data), task, context.FIELDS)
        if task.test:
            self._test = _read(Path(task.test), task, context.FIELDS)
        else:
            cut = len(y) * 4 // 5
            self._test, x, y = (x[cut:], y[cut:]), x[:cut], y[:cut]
        cut = len(y) * 3 // 4
        self._train, self._validation = (x[:cut], y[:cut]), (x[cut:], y[cut:])
        self._whole = x, y
        options = Options()
        self._step = TrainStep(options.graph("context", "train_step.onnx"))
        self._predict = Predictor(options.graph("context", "predict.onnx"))

    def told(self) -> Told:
        """What the search must know of the rows."""
        x = self._whole[0]
        picks = np.linspace(0, len(x) - 1, min(1_000, len(x))).astype(int)
        values = {name: np.sort(x[picks, n]).tolist() for n, name in enumerate(context.FIELDS)}
        days = len(x) * self._task.row_s / DAY_S
        return Told(fields=context.FIELDS, rows=len(x), test_rows=len(self._test[1]), days=days, values=values)

    def answer(self, ask: Ask) -> Answer:
        """Train on what the setting leaves, and measure on what the setting lets through."""
        (x, y), (held_x, held_y) = (
            (self._train, self._validation) if ask.on == "validation" else (self._whole, self._test)
        )
        rows = max(1, min(len(y), math.ceil(ask.days * DAY_S / self._task.row_s)))
        x, y = minimised(x[-rows:], ask.fields), y[-rows:]
        held_x = minimised(held_x, ask.fields)
        found = []
        for seed in range(self._task.seeds):
            weights = context.train(self._step, x, y, context.TRAIN.epochs, np.random.default_rng(seed))
            found.append(100.0 * evaluate.accuracy(self._predict(weights, {"features": held_x}), held_y))
        spread = float(np.std(found, ddof=1)) if len(found) > 1 else 0.0
        return Answer(accuracy=float(np.mean(found)), sd=spread)


def minimised(x: F32, fields: Mapping[str, Transform]) -> F32:
    """The readings (n, 4) as the device would keep them; what is not kept is nought."""
    out = np.zeros_like(x)
    for n, name in enumerate(context.FIELDS):
        if name in fields:
            out[:, n] = changed(x[:, n], fields[name])
    return out


def changed(values: F32, transform: Transform) -> F32:
    """A column after a transform, as `edge_agent.intake.minimise` does it to one value."""
    match transform:
        case Keep():
            return values
        case Round(step=step):
            return np.asarray(np.round(values.astype(np.float64) / step) * step, np.float32)
        case Bucket(edges=edges):
            at = np.searchsorted(np.asarray(edges), values.astype(np.float64), side="right") - 1
            return np.asarray(np.asarray(edges)[np.maximum(at, 0)], np.float32)
        case CoarseLocation(cell_degrees=cell):
            return np.asarray(np.round(values.astype(np.float64) / cell) * cell, np.float32)
        case TruncateTime() | KeyedHash():
            raise DatasetInvalid("times and identifiers are no readings", hint="leave such fields as they are")


def _read(path: Path, task: Task, fields: tuple[str, ...]) -> tuple[F32, F32]:
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            names = list(task.columns) or next(lines, [])
            missing = [name for name in (*fields, task.label) if name not in names]
            if missing:
                raise DatasetInvalid(
                    f"{path} has no column {', '.join(f'`{name}`' for name in missing)}",
                    hint=f"it has {', '.join(names) or 'none'}; name them: --columns a,b,c --label d",
                )
            wanted = [names.index(name) for name in (*fields, task.label)]
            rows = []
            for number, line in enumerate(lines, start=1 if task.columns else 2):
                rows.append(_row(path, number, line, wanted))
                if len(rows) > ROWS_MAX:
                    raise DatasetInvalid(f"{path} has more than {ROWS_MAX:,} rows", hint="give a part of it")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DatasetInvalid(f"{path} cannot be read: {error}", hint="give a CSV file in UTF-8") from None
    if len(rows) < 100:
        raise DatasetInvalid(f"{path} has {len(rows)} rows", hint="a hundred rows or more tell something")
    table = np.asarray(rows, np.float32)
    return table[:, :-1], (table[:, -1] > 0.5).astype(np.float32)


def _row(path: Path, number: int, line: list[str], wanted: list[int]) -> list[float]:
    try:
        values = [float(line[n]) for n in wanted]
    except (ValueError, IndexError):
        raise DatasetInvalid(f"{path}:{number}: not a row of numbers", hint="mend or remove the line") from None
    if not all(map(math.isfinite, values)):
        raise DatasetInvalid(f"{path}:{number}: a number is not finite", hint="mend or remove the line")
    return values


def _say(line: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Entry of the child: a task, then settings until the input ends."""
    try:
        worth = Worth(msgspec.json.decode(sys.stdin.buffer.readline(), type=Task))
    except EdgeError as error:
        _say({"error": error.what, "hint": error.hint})
        return
    _say(worth.told())
    for line in sys.stdin.buffer:
        try:
            _say(worth.answer(msgspec.json.decode(line, type=Ask)))
        except EdgeError as error:
            _say({"error": error.what, "hint": error.hint})


if __name__ == "__main__":
    main()
