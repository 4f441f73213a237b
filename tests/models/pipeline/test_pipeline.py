"""A pipeline makes the same bytes from the same config, runs each step once, and goes on after a kill."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from models.bundle import open_bundle
from models.check import check_bundle
from models.errors import DatasetInvalid, PipelineInvalid
from models.pipeline.config import STAGES, Config, Stage, read_config
from models.pipeline.files import Cache
from models.pipeline.run import Finished, run
from models.zoo import FROM_RATINGS
from tests.models.sample import taste_ratings

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "models" / "configs"
OWN = "tests.models.pipeline.own_steps"


def _run(config: Config, folder: Path) -> Finished:
    return run(config, folder, lambda _stage, _what, _seconds: None)


def _context(**stages: Stage) -> Config:
    return Config(model="context", version="1.1.0", train=Stage(settings={"epochs": 1}), **stages)


def test_the_same_config_gives_the_same_bytes_with_and_without_the_cache(tmp_path: Path) -> None:
    config = _context(calibrate=Stage(use="temperature"), quantise=Stage(use="float16"))
    first, second, elsewhere = (_run(config, tmp_path / where) for where in ("a", "a", "b"))
    assert (first.cached, second.cached) == ((), STAGES)
    assert first.path.read_bytes() == second.path.read_bytes() == elsewhere.path.read_bytes()
    assert check_bundle(first.path) == []


def test_only_what_a_change_touches_runs_again(tmp_path: Path) -> None:
    _run(_context(), tmp_path)
    again = _run(_context(calibrate=Stage(use="platt")), tmp_path)
    assert again.cached == ("data", "features", "train")
    noted = _run(_context(calibrate=Stage(use="platt"), card=Stage(settings={"note": "Mine."})), tmp_path)
    assert noted.cached == STAGES[:6]
    assert "Mine." in open_bundle(noted.path).read("card.md").decode()


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(f'model = "context"\ntrain.settings.epochs = 1\nevaluate.use = "{OWN}:dies_once"\n')

    def train() -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", "from models.cli import main; main()", "train", config, "--json"]
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)

    assert train().returncode == -9
    assert not list(tmp_path.glob("*.edgeward"))
    done = train()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cached"] == list(STAGES[:5])
    assert check_bundle(tmp_path / "context-1.0.0.edgeward") == []


def test_calibration_lowers_the_error_on_rows_that_nothing_was_fitted_on(tmp_path: Path) -> None:
    done = _run(_context(calibrate=Stage(use="isotonic")), tmp_path)
    figures = json.loads(done.files["figures.json"])
    assert figures["served"]["ece"] < figures["graph"]["ece"]
    assert open_bundle(done.path).spec.calibration.method == "isotonic"
    assert "| ece |" in open_bundle(done.path).read("card.md").decode()


def test_leaving_out_a_field_shows_what_it_is_worth(tmp_path: Path) -> None:
    without = _run(_context(features=Stage(use="without", settings={"fields": ["light"]})), tmp_path)
    full = _run(_context(), tmp_path)
    accuracy = [json.loads(done.files["figures.json"])["served"]["accuracy"] for done in (without, full)]
    assert accuracy[0] < accuracy[1] - 0.05, "light decides most of it"


def test_a_step_of_ones_own_takes_a_place(tmp_path: Path) -> None:
    done = _run(_context(features=Stage(use=f"{OWN}:dimmed")), tmp_path / "dimmed")
    assert done.path.read_bytes() != _run(_context(), tmp_path / "plain").path.read_bytes()
    assert f"features {OWN}:dimmed" in open_bundle(done.path).read("card.md").decode()


def test_ratings_become_a_ranking_bundle_in_eight_bits(tmp_path: Path) -> None:
    taste_ratings(tmp_path / "ratings.csv", people=20, items=30)
    done = _run(
        Config(
            model="affinity-recent",
            data=Stage(settings={"ratings": "ratings.csv", "licence": "CC0-1.0"}),
            features=Stage(use="active", settings={"interactions_min": 2}),
            train=Stage(settings={"epochs": 1}),
            quantise=Stage(use="int8"),
        ),
        tmp_path,
    )
    bundle = open_bundle(done.path)
    assert (bundle.spec.licence, bundle.storage) == ("CC0-1.0", "int8")
    assert check_bundle(done.path) == []


def test_a_signature_names_the_builder_and_fits_no_other_bytes(tmp_path: Path) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "model.key").write_bytes(pem)
    done = _run(_context(sign=Stage(use="ed25519", settings={"key": "model.key"})), tmp_path)
    signature = done.path.with_suffix(".edgeward.sig").read_bytes()
    key.public_key().verify(signature, done.path.read_bytes())
    with pytest.raises(InvalidSignature):
        key.public_key().verify(signature, done.path.read_bytes() + b"x")
    assert not [name for name in done.files if pem in done.files[name]], "the key is in no file that is kept"


def test_a_damaged_entry_of_the_cache_is_made_again(tmp_path: Path) -> None:
    first = _run(_context(), tmp_path)
    (entry,) = (tmp_path / ".edgeward-train").glob("train-*")
    (entry / "files" / "bundle.edgeward").write_bytes(b"half")
    again = _run(_context(), tmp_path)
    assert again.path.read_bytes() == first.path.read_bytes()
    assert "train" not in again.cached
    assert Cache(tmp_path / ".edgeward-train").get("no such key") is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('model = "contxt"', "no model 'contxt'"),
        ('model = "context"\nsed = 1', "sed"),
        ("model =", "not TOML"),
        ('model = "context"\nseed = -1', r"\$.seed"),
    ],
)
def test_a_config_that_cannot_be_is_refused_by_name(text: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(PipelineInvalid, match=word):
        read_config(path)


@pytest.mark.parametrize(
    ("stages", "word"),
    [
        ({"calibrate": Stage(use="beta")}, "temperature, platt, isotonic"),
        ({"train": Stage(settings={"epoch": 3})}, "epoch"),
        ({"features": Stage(use="active")}, "interactions"),
        ({"features": Stage(use="nowhere:step")}, "importable"),
        ({"features": Stage(use=f"{OWN}:escapes")}, "within the folder"),
        ({"sign": Stage(use="ed25519", settings={"key": "absent.key"})}, "openssl genpkey"),
        ({"quantise": Stage(use="int3")}, "int8"),
    ],
)
def test_a_stage_that_cannot_be_is_refused_with_the_fix(stages: dict[str, Stage], word: str, tmp_path: Path) -> None:
    config = Config(model="context", **{"train": Stage(settings={"epochs": 1}), **stages})
    with pytest.raises(PipelineInvalid, match=word):
        _run(config, tmp_path)
    assert not list(tmp_path.glob("*.edgeward"))


def test_rankings_of_samples_have_no_probability_to_calibrate(tmp_path: Path) -> None:
    taste_ratings(tmp_path / "ratings.csv", people=6, items=20)
    given = Stage(settings={"ratings": "ratings.csv"})
    config = Config(model="affinity", data=given, train=Stage(settings={"epochs": 1}), calibrate=Stage(use="platt"))
    with pytest.raises(PipelineInvalid, match="context, propensity"):
        _run(config, tmp_path)


def test_a_wrong_line_of_ratings_is_named_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("a,x,5,1\nbad\n")
    config = Config(model="affinity-recent", data=Stage(settings={"ratings": "ratings.csv"}))
    with pytest.raises(DatasetInvalid, match=r"ratings.csv, line 2"):
        _run(config, tmp_path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_config_runs(path: Path, tmp_path: Path) -> None:
    config = read_config(path)
    assert config.model == path.stem
    if config.model == "moment":
        return  # people who come back day after day are made in its own tests
    if config.model in FROM_RATINGS:
        taste_ratings(tmp_path / "ratings.csv", people=12, items=24)
    brief = replace(config, train=Stage(settings={"epochs": 1}))
    assert check_bundle(_run(brief, tmp_path).path) == []
