"""The container recipe, read as its builder reads it. (No engine is needed, so none is started.)"""

import configparser
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "packaging" / "Containerfile"
KNOWN = {
    "ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD",
}  # fmt: skip


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) with continued lines joined and comments dropped."""
    text = "\n".join(line for line in RECIPE.read_text().splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", " ", text)
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in joined.splitlines() if line.strip()]


def final_stage() -> list[tuple[str, str]]:
    found = instructions()
    last = max(n for n, (word, _) in enumerate(found) if word == "FROM")
    return found[last:]


def test_every_instruction_is_known_and_every_file_that_is_copied_exists_and_is_sent() -> None:
    assert {word for word, _ in instructions()} <= KNOWN
    sent = set((RECIPE.parent / "Containerfile.dockerignore").read_text().splitlines())
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in sent


def test_images_are_of_a_named_version_and_of_no_named_host() -> None:
    images = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert len(images) == 2
    for image in images:
        assert ":" in image
        assert "latest" not in image
        assert "/" not in image


def test_it_runs_as_an_unprivileged_user_in_exec_form_and_is_asked_how_it_is() -> None:
    stage = dict(final_stage())
    assert stage["USER"] not in {"root", "0"}
    commands = configparser.ConfigParser()
    commands.read(ROOT / "setup.cfg")
    scripts = commands["options.entry_points"]["console_scripts"]
    (program,) = json.loads(stage["ENTRYPOINT"])
    assert f"{program} =" in scripts
    assert json.loads(stage["CMD"])[0] == "run"
    health = stage["HEALTHCHECK"].split("CMD ", 1)[1]
    assert json.loads(health)[:2] == ["edge-agent", "status"]
    assert "--alive" in json.loads(health)


def test_nothing_is_built_in_the_final_stage() -> None:
    for word, rest in final_stage():
        if word == "RUN":
            assert "pip" not in rest
            assert "apt" not in rest
