"""Business figures from a secret sum on a real SuperLink with real learners: accounted for, and no device is seen."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from coordinator.business import read
from coordinator.cli import main
from coordinator.errors import NotDeclared, PrivacyRefused
from coordinator.shell.business import Patience, declared, newest, release
from coordinator.shell.privacy_store import PrivacyStore
from edge_agent.effects import Put
from edge_agent.shell.store import Store
from edge_agent.shell.writes import Writes
from firmware_configs.business import business_shape_of
from firmware_configs.loader import load
from tests.coordinator.fleet import Coordinator, Device, together
from tests.edge_agent.shell.test_measured import BOUGHT, MODEL, OPEN, SECRET
from tests.edge_agent.shop import HOUR_MS, SHOP, Shop, outcome

PARTS = (outcome(), BOUGHT, MODEL)
PRIVATE = SHOP.replace(OPEN, SECRET.replace("noise_multiplier = 0.8, epsilon_max = 20.0", "noise_multiplier = 0.5, "
                                            "epsilon_max = 15.0"))  # fmt: skip


def shop_of(number: int) -> Shop:
    """Forty people, of whom every fourth bought."""
    shop = Shop(*PARTS, shop=PRIVATE, models=("context",))
    for person in range(40):
        shop.agree(f"p{person}").event("kiosk", f"p{person}")
        if (person + number) % 4 == 0:
            shop.now += 1_000
            shop.buys(f"p{person}")
    shop.pass_time(30 * HOUR_MS)
    return shop


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "shop.toml"
    path.write_text(Shop(*PARTS, shop=PRIVATE, models=("context",)).text)
    return path


@pytest.mark.slow
def test_figures_come_of_a_sum_of_which_no_part_was_seen(
    place: Coordinator, profile: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    devices = [Device(f"shop-{n}", tmp_path_factory.mktemp(f"shop-{n}")) for n in range(3)]
    for n, device in enumerate(devices):
        rows = [(key, value) for (room, key), (value, _) in shop_of(n).rows.items() if room == "metric"]
        writes = Writes()
        writes.add([Put(room="metric", key=key, value=value) for key, value in rows])
        store = Store(device.database, 64)
        assert store.commit(writes, durable=False)
        store.close()
    place.enrol(devices)
    told, failed, said = together(
        place,
        devices,
        lambda: release(place.home, profile, patience=Patience(join_s=60.0), say=print),
        secret=True,
        business=(business_shape_of(load(profile).profile),),
        k_min=3,
        clip_norm=60.0,
        noise_multiplier=0.5,
    )
    assert failed is None
    assert told is not None
    assert (told.number, told.devices, told.refused) == (1, "3", {})
    assert told.epsilon == pytest.approx(10.73, abs=0.01)
    assert told.noise == pytest.approx(0.5 * 60.0)
    assert "the coordinator saw no sum without it" in told.privacy
    (figure,) = read(told, 0.05)
    # Three shops and so much noise tell nothing, and say so.
    assert figure.value is None or figure.low <= 0.25 <= figure.high
    assert {ask.kind for one in said for ask in one.asked} == {"metric"}
    masked = [ask for one in said for ask in one.asked if ask.mu_squared]
    assert [(ask.bundle, round(ask.mu_squared, 6)) for ask in masked] == [("metrics", 4.0)] * 3
    assert all("sums of metrics by arm and segment, clip 60" in ask.privacy for ask in masked)
    assert newest(place.home, "shop") == told
    assert [one.population for one in PrivacyStore(place.home).accounts("business shop")] == [
        "all devices, in secret sums"
    ]
    with pytest.raises(PrivacyRefused):
        release(place.home, profile)
    shown = CliRunner().invoke(main, ["business", "show", "shop", "--home", str(place.home), "--json"])
    assert json.loads(shown.stdout)["devices"] == "3"


def test_what_leaves_in_secret_alone_is_read_from_no_file(profile: Path, tmp_path: Path) -> None:
    assert declared(profile).in_secret
    with pytest.raises(NotDeclared, match="in secret alone"):
        release(tmp_path, profile, reports=tmp_path / "reports.jsonl")
