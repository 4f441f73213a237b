"""Pages of docs/ as the site shows them: what they name by its path becomes a link. Pure: text in, text out."""

import re
from collections.abc import Mapping
from posixpath import dirname, relpath
from typing import Final

FENCE: Final = re.compile(r"(^```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)
NAMED: Final = re.compile(
    r"(?P<link>\[[^\]]*\]\([^)]*\)|<https?://[^>]+>)"
    r"|(?P<heading>^#.*$)"
    r"|`(?P<code>[^`\n]+)`"
    r"|(?<![\w/-])(?P<path>docs/[\w./-]+\.(?:md|toml|json))"
    r"|(?<![\w/-])(?P<record>docs/adr/\d{4})(?![\w-])"
    r"|\bADRs? (?P<number>\d{4})"
    r"|(?<![\w/.-])(?P<beside>[a-z][a-z-]+\.md)",
    re.MULTILINE,
)
REFERENCES: Final = {
    "firmware_configs/reference/agent.toml": "reference/settings.md",
    "firmware_configs/reference/reference.toml": "reference/profile.md",
    "firmware_configs/reference/profile.schema.json": "reference/profile.md",
    "firmware_configs/reference/messages.schema.json": "reference/topics.md",
    "firmware_configs/rules/": "reference/rules.md",
    "edge_agent/errors.py": "reference/errors.md",
    "coordinator/errors.py": "reference/errors.md",
}
"""What the repository names → the page that the site has for it."""


def title_of(text: str) -> str:
    """The first heading of a page, up to its colon; empty: it has none."""
    found = re.search(r"^# ([^:\n]+)", text, flags=re.MULTILINE)
    return found[1].strip() if found else ""


def linked(text: str, here: str, titles: Mapping[str, str]) -> str:
    """A page with links for what it names.

    Args:
        text: Markdown.
        here: the page's own path below docs/, with `/`.
        titles: path of every page → its title; other files that the site has → their name.
    Returns:
        Markdown. What stands in a block of code, in a heading or in a link stays as it is.
    """
    return "".join(
        part if part.startswith("```") else NAMED.sub(lambda found: _link(found, here, titles), part)
        for part in FENCE.split(text)
    )


def _link(found: re.Match[str], here: str, titles: Mapping[str, str]) -> str:
    whole = found[0]
    page, shown = "", ""
    if found["code"]:
        page = _page(found["code"], titles)
        shown = titles[page] if page and found["code"].startswith("docs/") else whole
    elif found["path"]:
        page = _page(found["path"], titles)
        shown = titles.get(page, "")
    elif number := found["number"] or (found["record"] or "")[-4:]:
        page = next((name for name in titles if name.startswith(f"adr/{number}-")), "")
        shown = whole if found["number"] else f"ADR {number}"
    elif found["beside"]:
        page = f"{dirname(here)}/{found['beside']}".lstrip("/")
        page, shown = (page, titles[page]) if page in titles else ("", "")
    if not page or page == here:
        return whole
    return f"[{shown}]({relpath(page, dirname(here) or '.')})"


def _page(path: str, titles: Mapping[str, str]) -> str:
    """The site's page for a path of the repository; empty: there is none."""
    found = REFERENCES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
    if found.endswith("/"):
        found += "index.md"
    return found if found in titles else ""


def record_index(records: Mapping[str, str]) -> str:
    """The list of architecture decision records: number and title, newest first."""
    lines = ["# Decisions", "", "Why it is like this: one page a decision, with what else there was.", ""]
    lines += [f"- [{title}]({name.removeprefix('adr/')})" for name, title in sorted(records.items(), reverse=True)]
    return "\n".join(lines) + "\n"
