"""Words of strangers stay data: no terminal obeys them, no log line is theirs, no page runs them."""

from pathlib import Path

import pytest

from firmware_configs import shown
from tests.redteam import texts


def test_words_of_strangers_reach_logs_terminals_and_pages_as_data_alone(tmp_path: Path) -> None:
    found = texts.attack(tmp_path)
    reached = found["reached"]
    assert isinstance(reached, texts.Reached)
    assert reached.outputs > 20
    assert (reached.raw, reached.forged, reached.payload_in_log, reached.markup) == (0, 0, 0, 0)
    assert found["commands_executed"] == 0


def test_without_the_replacement_the_attack_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "is_shown", lambda _char: True)
    reached = texts.attack(tmp_path)["reached"]
    assert isinstance(reached, texts.Reached)
    assert reached.raw > 0
    assert reached.forged > 0


@pytest.mark.parametrize("text", ["naïve café 東京 21 °C", "a\tb", "👍🏽", ""])
def test_what_people_write_is_shown_as_it_is(text: str) -> None:
    assert shown.line(text) == text


def test_a_document_says_the_same_after_its_escapes() -> None:
    import json

    for nasty in texts.WORDS:
        written = shown.document(json.dumps({"x": nasty}, ensure_ascii=False, indent=2))
        assert json.loads(written) == {"x": nasty}
        assert texts.RAW.search(written) is None
