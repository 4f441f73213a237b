"""The table is whole, and the page that people read is the table."""

from pathlib import Path

from tests.conformance.brokers import NAMES
from tests.conformance.table import FEATURES, PRODUCTS, SPEAKS, page

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "brokers.md"


def test_the_page_of_brokers_is_what_the_suite_runs() -> None:
    assert PAGE.read_text() == page(), "write it again: python -m tests.conformance"


def test_every_feature_has_a_test_and_every_test_a_feature() -> None:
    text = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    assert [name for name in FEATURES if f'@runs("{name}"' not in text] == []


def test_every_reason_names_a_broker_and_a_version_that_it_speaks() -> None:
    assert set(SPEAKS) == set(PRODUCTS) == set(NAMES)
    known = {*NAMES, *(f"{name}/{version}" for name in NAMES for version in SPEAKS[name])}
    for name, feature in FEATURES.items():
        assert set(feature.lacks) <= known, name
