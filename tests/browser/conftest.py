"""The demo's shop, somebody who listens at its broker, and a browser: one of each for a file of tests."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from demo.pages.house import House
from tests.browser import corner_shop as shop
from tests.browser.chromium import chromium


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with shop.house(tmp_path_factory.mktemp("shop")) as found:
        yield found


@pytest.fixture(scope="module")
def listener(house: House) -> Iterator[shop.Listener]:
    found = shop.Listener(house.broker)
    yield found
    found.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found
