"""`edge-audit minimise`: the least that would serve, with the evidence."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from firmware_configs.cli_group import FiniteRange
from firmware_configs.commands.options import bundle_option, deliver, document, json_option, needs

if TYPE_CHECKING:
    from firmware_configs.minimising import Found, Setting
    from firmware_configs.profile import Profile

DAYS = (90.0, 60.0, 30.0, 14.0, 7.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.25)


MEASURING = ("numpy", "onnxruntime")
"""Libraries of the child that measures; an auditor alone does without them."""


class Child:
    """The process that trains and measures; see `models.worth`."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def ask(self, line: Any) -> dict[str, Any]:
        """One line there, one back.

        Raises:
            UsageError: the child says no, or is gone.
        """
        import msgspec

        from firmware_configs.errors import UsageError

        inward, outward = self._process.stdin, self._process.stdout
        if inward is None or outward is None:
            raise UsageError("the child that measures has no streams", hint="run it again")
        try:
            inward.write(msgspec.json.encode(line) + b"\n")
            inward.flush()
        except BrokenPipeError:
            raise UsageError("the child that measures is gone", hint="see its last words above") from None
        said = outward.readline()
        if not said:
            raise UsageError("the child that measures is gone", hint="see its last words above")
        told: dict[str, Any] = msgspec.json.decode(said)
        if "error" in told:
            raise UsageError(str(told["error"]), hint=str(told["hint"]))
        return told


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@contextmanager
def _child() -> Iterator[Child]:
    from firmware_configs.errors import UsageError

    absent = [name for name in MEASURING if not _is_there(name)]
    if absent:
        hint = "this command trains models: pip install edgeward, with all its libraries; in a clone: tools/setup demo"
        raise UsageError(f"not installed: {', '.join(absent)}", hint=hint)
    command = [sys.executable, "-m", "models.worth"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Child(process)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait()


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="CSV of readings, oldest first.")
@click.option(
    "--test", type=click.Path(path_type=Path), help="CSV that is looked at once. Default: last fifth of data."
)
@click.option("--columns", default="", help="Names of the columns, with commas. Default: the file's first line.")
@click.option("--label", default="occupied", show_default=True, help="Column that holds the truth, 0 or 1.")
@click.option("--model", default="context", show_default=True, help="Model of the profile that is measured.")
@click.option("--loss", default=0.5, show_default=True, type=FiniteRange(0.0), help="Points that may be lost.")
@click.option("--row-s", default=60.0, show_default=True, type=FiniteRange(0.001), help="Seconds between rows.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1, 20))
@click.option("--out", type=click.Path(path_type=Path), help="Write the proposed profile here.")
@click.option("--evidence", type=click.Path(path_type=Path), help="Write every trial here: .html, .md or .json.")
@bundle_option
@json_option
def minimise(
    path: Path,
    data: Path,
    test: Path | None,
    columns: str,
    label: str,
    model: str,
    loss: float,
    row_s: float,
    seeds: int,
    out: Path | None,
    evidence: Path | None,
    bundles: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Search the fewest fields, the coarsest values and the shortest retention that cost no more than --loss points.

    Chosen on the last quarter of the data, told on rows that were not looked at before. Fields that rules, triggers or
    identity read stay as they are. A model that was built for more fields must be built again for fewer.
    """
    from firmware_configs.errors import UsageError
    from firmware_configs.lineage import derive
    from firmware_configs.loader import load
    from firmware_configs.minimising import Setting, search
    from firmware_configs.proposal import pinned, proposed, setting_of

    profile = load(path).profile
    if model not in {one.name for one in profile.model}:
        listed = ", ".join(one.name for one in profile.model) or "none"
        raise UsageError(f"{path} runs no model `{model}`", hint=f"it runs: {listed}; use --model")
    fixed = pinned(derive(profile, needs(bundles)), model)
    task = {
        "model": model,
        "data": str(data),
        "test": str(test or ""),
        "columns": [name for name in columns.split(",") if name],
        "label": label,
        "row_s": row_s,
        "seeds": seeds,
    }
    with _child() as child:
        told = child.ask(task)
        start = setting_of(profile, told["fields"], float(told["days"]))

        def quality(setting: Setting) -> float:
            answer = float(child.ask(_ask(setting))["accuracy"])
            click.echo(f"  {answer:6.2f} %  {', '.join(setting.fields)}, {setting.days:.3g} days", err=True)
            return answer

        days = [one for one in DAYS if one < start.days]
        found = search(start, quality, loss, pinned=fixed, values=told["values"], days=days)
        before = child.ask(_ask(found.start, "test"))
        after = child.ask(_ask(found.least, "test"))
    data_told = _data(path, profile, found, before, after, fixed, task)
    if evidence is not None:
        deliver(_evidence(data_told, evidence), evidence)
    if out is not None:
        deliver(proposed(path, profile, found), out)
    click.echo(document(data_told) if as_json else _words(data_told))


def _ask(setting: "Setting", on: str = "validation") -> dict[str, Any]:
    return {"fields": setting.fields, "days": setting.days, "on": on}


def _data(
    path: Path,
    profile: "Profile",
    found: "Found",
    before: dict[str, Any],
    after: dict[str, Any],
    fixed: list[str],
    task: dict[str, Any],
) -> dict[str, Any]:
    import msgspec

    return {
        "profile": str(path),
        "version": profile.version,
        "task": task,
        "fields_before": len(found.start.fields),
        "fields_after": len(found.least.fields),
        "accuracy_before": before["accuracy"],
        "accuracy_before_sd": before["sd"],
        "accuracy_after": after["accuracy"],
        "accuracy_after_sd": after["sd"],
        "loss_points": before["accuracy"] - after["accuracy"],
        "pinned": fixed,
        "start": msgspec.to_builtins(found.start),
        "least": msgspec.to_builtins(found.least),
        "trials": msgspec.to_builtins(found.trials),
    }


def _words(data: dict[str, Any]) -> str:
    import msgspec

    from firmware_configs.coarseness import told
    from firmware_configs.profile import Transform

    least = {name: told(msgspec.convert(t, Transform)) for name, t in data["least"]["fields"].items()}
    gone = [name for name in data["start"]["fields"] if name not in least]
    days = f"{data['start']['days']:.3g} days → {data['least']['days']:.3g}"
    accuracy = f"{data['accuracy_before']:.2f} % → {data['accuracy_after']:.2f} %"
    lines = [
        f"{data['fields_before']} fields → {data['fields_after']}; {days}",
        f"accuracy on rows that were not looked at: {accuracy} (a loss of {data['loss_points']:.2f} points)",
        *(f"  keep {name}, {how}" for name, how in least.items()),
        *(f"  do not collect {name}" for name in gone),
    ]
    if data["pinned"]:
        lines.append(f"left as they are, because rules, triggers or examples need them: {', '.join(data['pinned'])}")
    return "\n".join(lines)


def _evidence(data: dict[str, Any], path: Path) -> str:
    from firmware_configs.report import pages
    from firmware_configs.report.pages import Heading, Page, Paragraph, Table

    if path.suffix == ".json":
        return document(data)
    rows = tuple(
        (one["what"], f"{one['quality']:.2f} %", f"{one['loss']:.2f}", "taken" if one["is_taken"] else "not taken")
        for one in data["trials"]
    )
    page = Page(
        title=f"Evidence for a smaller profile: {Path(data['profile']).stem} {data['version']}",
        parts=(
            *(Paragraph(line.strip()) for line in _words(data).splitlines()),
            Heading("Every trial"),
            Paragraph("Accuracy on the last quarter of the data, mean over seeds; loss in points against the profile."),
            Table(("trial", "accuracy", "loss", "verdict"), rows),
        ),
    )
    return pages.html(page) if path.suffix in {".html", ".htm"} else pages.markdown(page)
