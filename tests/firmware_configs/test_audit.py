"""The auditor: what is wrong is found by its code, what is right is left alone."""

import json
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from firmware_configs.audit import audit, in_words, is_profile, profiles_in
from firmware_configs.bundle_needs import read_needs
from firmware_configs.cli import main
from firmware_configs.lineage import derive, why
from firmware_configs.loader import load, parse

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "firmware_configs" / "profiles"
HOME = (PROFILES / "home-gateway.toml").read_text()
NEEDS = [read_needs(path) for path in sorted((ROOT / "models" / "zoo" / "bundles").glob("*.edgeward"))]

UNUSED_FIELD = """
[[source.field]]
name = "noise"
path = "noise"
category = "user.sensor"
purposes = ["comfort"]

"""
UNUSED_PURPOSE = """
[[purpose]]
name = "nothing"
legal_basis = "contract"
consent = "not-needed"
text = "This purpose stands here and nothing serves it."

"""
SUMS = '[[egress]]\nkind = "experiment"\npurposes = ["operate"]\nbytes_day_max = 1000\nk_min = 3\n\n'
ENOUGH = 'reason = "There is daylight enough."\n'
BRIGHTER = """
[[placement.rule]]
name = "brighter"
when = "fields.light > 900.0 && item == 'lights-on'"
effect = "deny"
reason = "It is brighter still."
"""
BAD = {
    "DM001": ("# ---- for how long", UNUSED_FIELD + "# ---- for how long"),
    "DM002": ("# ---- for how long", UNUSED_FIELD.replace("noise", "latitude") + "# ---- for how long"),
    "DM003": (
        "# ---- for how long",
        UNUSED_FIELD.replace("noise", "phone_mac").replace('path = "phone_mac"', 'type = "text"')
        + "# ---- for how long",
    ),
    "DM004": ("days = 90", "days = 900"),
    "DM005": ('"user.sensor" = { days = 7 }', '"user.sensor" = { days = 7 }\n"user.financial" = { days = 1 }'),
    "DM101": (
        "# ---- what is collected",
        UNUSED_PURPOSE + "# ---- what is collected",
    ),
    "DM102": ('legal_basis = "consent"\nconsent = "required"', 'legal_basis = "consent"\nconsent = "not-needed"'),
    "DM103": (
        'category = "user.behavior"\npurposes = ["personalise", "improve-models"]',
        'category = "user.religious_belief"\npurposes = ["personalise", "operate"]',
    ),
    "DM104": ('text = "Your gateway says whether', 'text = "' + "very " * 40 + "long, your gateway says whether"),
    "DM201": ("bytes_day_max = 50_000_000", "bytes_day_max = 500_000_000"),
    "DM202": ("k_min = 3", "k_min = 1"),
    "DM203": ("clip_norm = 20.0", "clip_norm = 20.0, epsilon_max = 50.0"),
    "DM204": ("clip_norm = 20.0", "clip_norm = 20.0, noise_multiplier = 0.0"),
    "DM205": ('[[egress]]\nkind = "status"', SUMS + '[[egress]]\nkind = "status"'),
    "DM301": ("item == 'lights-on' && fields.light > 800.0", "item == 'lights-on' || item == 'lights-off'"),
    "DM302": ("item == 'lights-on' && fields.light > 800.0", "fields.light > 800.0 && fields.light < 700.0"),
    "DM303": (ENOUGH, ENOUGH + BRIGHTER),
}


def _codes(text: str, folder: Path) -> set[str]:
    path = folder / "p.toml"
    path.write_text(text)
    return {finding.code for finding in audit(path, NEEDS)}


@pytest.mark.parametrize("code", sorted(BAD))
def test_a_bad_profile_is_caught_by_its_code(code: str, tmp_path: Path) -> None:
    right, wrong = BAD[code]
    assert right in HOME
    text = HOME.replace(right, wrong, 1)
    if code == "DM103":
        text = text.replace('"user.behavior" = {', '"user.religious_belief" = {')
    assert code in _codes(text, tmp_path)


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_profiles_have_no_findings_but_notes(path: Path) -> None:
    assert [f for f in audit(path, NEEDS) if f.level != "note"] == []


@pytest.mark.parametrize(
    ("old", "new", "where", "written"),
    [
        ('name = "home-gateway"', "name = ", "", "name = "),
        ("k_min = 3", "k_mn = 3", "egress[1].k_mn", "k_mn = 3"),
        ("target = 0.95", 'target = "high"', "objective[1].target", 'target = "high"'),
        ('actuator = "lights"', 'actuator = "lamps"', "placement[2].actuator", 'actuator = "lamps"'),
    ],
)
def test_a_profile_that_does_not_load_is_told_by_place_and_line(
    old: str, new: str, where: str, written: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.toml"
    path.write_text(HOME.replace(old, new, 1))
    first = audit(path, NEEDS)[0]
    assert (first.code, first.where) == ("DM000", where)
    assert path.read_text().splitlines()[first.line - 1] == written
    assert "p.toml" not in first.what


def test_a_profile_that_is_no_text_at_all_is_one_finding(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(b"\xff\xfe\x00")
    assert [finding.code for finding in audit(path, NEEDS)] == ["DM000"]


OTHER_FILES = {
    "edge-audit.toml": "",
    "pyproject.toml": '[project]\nname = "x"\n',
    "ruff.toml": "[lint]\n",
    "agent.toml": 'device = "gateway-1"\nprofile = "p.toml"\n[broker]\nurl = "mqtt://127.0.0.1"\n',
}


def test_a_folder_may_hold_waivers_and_settings_beside_its_profiles(tmp_path: Path) -> None:
    for name, text in OTHER_FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "home.toml").write_text(HOME)
    done = CliRunner().invoke(main, ["check", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "1 profile, 0 findings" in done.stdout
    assert "passed over" in done.stderr
    assert "agent.toml" in done.stderr
    assert "edge-audit.toml" not in done.stderr


@pytest.mark.parametrize("text", ["schema = ", "schema = 1", "[[source]]\nnmae = 3", "\x00", "[retention]"])
def test_a_broken_profile_in_a_folder_is_never_passed_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "home.toml").write_text(HOME)
    (tmp_path / "broken.toml").write_text(text)
    found, passed = profiles_in([tmp_path])
    assert [path.name for path in found] == ["broken.toml", "home.toml"]
    assert passed == []


def test_a_file_that_is_named_is_checked_whatever_it_is(tmp_path: Path) -> None:
    (tmp_path / "ruff.toml").write_text("[lint]\n")
    done = CliRunner().invoke(main, ["check", str(tmp_path / "ruff.toml")])
    assert done.exit_code == 1
    assert "DM000" in done.stdout


def test_a_folder_without_a_profile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ruff.toml").write_text("[lint]\n")
    done = CliRunner().invoke(main, ["check", str(tmp_path)])
    assert done.exit_code == 2
    assert "holds no profile" in done.stderr


@given(st.binary(max_size=200))
def test_whatever_bytes_lie_in_a_folder_it_can_be_said_whether_they_are_meant_to_be_a_profile(raw: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        path.write_bytes(raw)
        if not is_profile(path):
            tomllib.loads(raw.decode())


def test_lineage_leads_from_the_sensor_to_what_leaves() -> None:
    lineage = derive(load(PROFILES / "home-gateway.toml").profile, NEEDS)
    targets = [step.target for step in why(lineage, "co2")]
    assert list(dict.fromkeys(targets)) == [
        "feature last(co2)",
        "model context",
        "placement presence",
        "drift presence-scores",
        "objective presence-in-time",
        "objective presence-by-model",
        "egress decision → mqtt",
        "egress alert → mqtt",
        "examples of context",
    ]
    assert lineage.unused == ()
    assert lineage.missing == ()


def test_what_is_learned_from_reaches_every_placement_that_the_model_serves() -> None:
    reached = {step.target for step in why(derive(load(PROFILES / "home-gateway.toml").profile, NEEDS), "item")}
    assert {"model affinity", "placement next-pick", "placement shelf", "egress update → superlink"} <= reached


def test_examples_train_only_the_models_of_a_fleet() -> None:
    steps = derive(load(PROFILES / "home-gateway.toml").profile, NEEDS).steps
    trained = [(step.source, step.target) for step in steps if step.how == "trained"]
    assert trained == [("examples of affinity", "model affinity")]


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.toml")), ids=lambda p: p.stem)
def test_whatever_may_leave_comes_from_somewhere(path: Path) -> None:
    profile = load(path).profile
    targets = {step.target for step in derive(profile, NEEDS).steps}
    assert [e.kind for e in profile.egress if f"egress {e.kind} → {e.destination}" not in targets] == []


def test_a_late_event_leaves_with_the_fields_of_its_source_alone() -> None:
    late = '[[egress]]\nkind = "late-event"\npurposes = ["comfort"]\nbytes_day_max = 1000\n\n[sensitive]'
    text = HOME.replace("[sensitive]", late)
    side = text.replace('lateness_s = 600.0\nlate = "apply"', 'lateness_s = 600.0\nlate = "side"')
    assert side != text
    steps = derive(parse(side).profile, NEEDS).steps
    found = {step.source for step in steps if step.target.startswith("egress late-event")}
    assert found == {f"field {name}" for name in ("temperature", "humidity", "light", "co2", "occupied")}


@pytest.mark.parametrize("asked", ["co2", "room.co2", "room:co2"])
def test_why_takes_a_field_by_name_by_source_and_as_lineage_prints_it(asked: str) -> None:
    done = CliRunner().invoke(main, ["why", asked, str(PROFILES / "home-gateway.toml"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["field"] == "co2"


def test_why_refuses_what_is_not_collected_and_names_what_is() -> None:
    done = CliRunner().invoke(main, ["why", "interaction.co2", str(PROFILES / "home-gateway.toml")])
    assert done.exit_code == 2
    assert "it collects: item, temperature" in done.stderr


def test_a_field_that_only_training_reads_is_used() -> None:
    lineage = derive(load(PROFILES / "home-gateway.toml").profile, NEEDS)
    assert [step.target for step in why(lineage, "occupied")] == ["examples of context"]


def test_a_model_that_needs_a_field_that_is_not_collected_is_told() -> None:
    text = HOME.replace('name = "co2"\npath = "co2"', 'name = "co"\npath = "co"')
    assert derive(parse(text).profile, NEEDS).missing == ("context needs co2",)


def test_the_words_name_every_field_purpose_and_egress() -> None:
    profile = load(PROFILES / "home-gateway.toml").profile
    told = "\n".join(in_words(profile))
    for source in profile.source:
        for field in source.field:
            assert field.name in told
    for purpose in profile.purpose:
        assert purpose.text in told
    for egress in profile.egress:
        assert f"{egress.bytes_day_max:,}" in told
    assert "Nothing else leaves." in told


def test_the_command_exits_0_for_shipped_profiles_and_1_with_findings(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(main, ["check", str(PROFILES)]).exit_code == 0
    bad = tmp_path / "bad.toml"
    bad.write_text(HOME.replace("k_min = 3", "k_min = 1"))
    done = run(main, ["check", str(bad), "--json"])
    assert done.exit_code == 1
    assert "DM202" in {finding["code"] for finding in json.loads(done.stdout)["findings"]}


def test_the_command_exits_2_for_a_path_that_is_not_there() -> None:
    done = CliRunner().invoke(main, ["check", "nowhere"])
    assert done.exit_code == 2
    assert "no such file" in done.stderr


@pytest.mark.parametrize("words", [["show"], ["lineage"], ["why", "light"]])
def test_officers_commands_work_on_every_shipped_profile(words: list[str]) -> None:
    done = CliRunner().invoke(main, [*words, str(PROFILES / "home-gateway.toml")])
    assert done.exit_code == 0, done.output
    assert done.stdout


def test_a_bundle_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    fake = tmp_path / "x.edgeward"
    fake.write_bytes(b"no zip")
    done = CliRunner().invoke(main, ["lineage", str(PROFILES / "home-gateway.toml"), "--bundle", str(fake)])
    assert done.exit_code == 2
    assert "cannot be read as a bundle" in done.stderr
