"""The container recipes, read as their builder reads them. (No engine is needed, so none is started.)"""

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = sorted(path for path in (ROOT / "packaging").glob("Containerfile*") if path.suffix != ".dockerignore")
AGENT = ROOT / "packaging" / "Containerfile"
KNOWN = {
    "ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD",
}  # fmt: skip


def instructions(recipe: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) with continued lines joined and comments dropped."""
    text = "\n".join(line for line in recipe.read_text().splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", " ", text)
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in joined.splitlines() if line.strip()]


def final_stage(recipe: Path) -> list[tuple[str, str]]:
    found = instructions(recipe)
    last = max(n for n, (word, _) in enumerate(found) if word == "FROM")
    return found[last:]


every = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)


def test_there_is_one_for_each_role() -> None:
    assert [path.suffix for path in RECIPES] == ["", ".coordinator", ".officer"]


@every
def test_every_instruction_is_known_and_every_file_that_is_copied_exists_and_is_sent(recipe: Path) -> None:
    assert {word for word, _ in instructions(recipe)} <= KNOWN
    sent = set(recipe.with_name(f"{recipe.name}.dockerignore").read_text().splitlines())
    for word, rest in instructions(recipe):
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in sent


@every
def test_images_are_of_a_named_version_and_of_no_named_host(recipe: Path) -> None:
    images = [rest.split()[0] for word, rest in instructions(recipe) if word == "FROM"]
    assert images == ["python:${PYTHON}"] * 2
    ((default,),) = [rest.split("=")[1:] for word, rest in instructions(recipe)[:1]]
    assert re.fullmatch(r"3\.1[1-3]-slim", default)


@every
def test_libraries_come_by_their_hashes_and_nothing_else_is_fetched_by_pip(recipe: Path) -> None:
    commands = [one.strip() for word, rest in instructions(recipe) if word == "RUN" for one in rest.split("&&")]
    fetching = [one for one in commands if re.search(r"\bpip (install|wheel)\b", one)]
    assert len(fetching) == 4
    for one in fetching:
        by_hashes, offline = "--require-hashes -r locks/" in one, "--no-deps --no-index" in one
        assert by_hashes != offline, one
        if by_hashes:
            lock = one.rsplit("/", 1)[1].replace("${LOCK}", "agent")
            assert (ROOT / "packaging" / "locks" / lock).exists()


@every
def test_it_runs_as_an_unprivileged_user_in_exec_form(recipe: Path) -> None:
    stage = dict(final_stage(recipe))
    assert stage["USER"] not in {"root", "0"}
    commands = configparser.ConfigParser()
    commands.read(ROOT / "setup.cfg")
    scripts = commands["options.entry_points"]["console_scripts"]
    (program,) = json.loads(stage["ENTRYPOINT"])
    assert f"{program} =" in scripts
    words = json.loads(stage["CMD"])
    done = subprocess.run(
        [Path(sys.executable).parent / program, *words[:1], "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert {word for word in words if word.startswith("--") and word != "--help"} <= set(
        re.findall(r"--[a-z-]+", done.stdout)
    )


def test_the_agent_is_asked_how_it_is() -> None:
    health = dict(final_stage(AGENT))["HEALTHCHECK"].split("CMD ", 1)[1]
    assert json.loads(health)[:2] == ["edge-agent", "status"]
    assert "--alive" in json.loads(health)


@every
def test_nothing_of_ours_is_built_in_the_final_stage(recipe: Path) -> None:
    for word, rest in final_stage(recipe):
        if word == "RUN":
            assert "pip" not in rest
            assert "apt" not in rest or rest.count("install -y --no-install-recommends mosquitto") == 1
