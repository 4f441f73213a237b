"""Writes docs/brokers.md from the table."""

from pathlib import Path

from tests.conformance.table import page

PAGE = Path(__file__).parents[2] / "docs" / "brokers.md"

if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
