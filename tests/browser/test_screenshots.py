"""The registry of pictures can be relied on: every world is there, and no picture overwrites another."""

import pytest

from tests.browser.screenshots import WORLDS, world


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_has_pictures_with_names_of_their_own(name: str) -> None:
    names = [shot.name for shot in world(name).shots]
    assert names
    assert len(set(names)) == len(names)
    assert all(shot.url.startswith("/") for shot in world(name).shots)
