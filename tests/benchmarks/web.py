"""`python -m tests.benchmarks.web --json`: from a click in a page until the same page shows the decision.

The demo's shop in Debian's Chromium, with a real mosquitto and agent. A click is a real one, by the browser's input;
the time ends when the new shelf is in the document and the frame after it has begun. Each click is an event that the
agent commits, and a request that it answers.
"""

import argparse
import json
import os
import statistics
import sys
from importlib.metadata import version
from pathlib import Path

from playwright.sync_api import Page

from demo.pages.catalogue import ITEMS
from demo.pages.house import SCRIPT
from edge_agent.web.capture import packed_script
from tests.benchmarks import load
from tests.browser import corner_shop as shop
from tests.browser.chromium import CHROMIUM, chromium, visitor

WARM = 10
WATCH = """() => {
  globalThis.times = [];
  let began = 0;
  document.addEventListener("click", (event) => (began = event.timeStamp), true);
  new MutationObserver(() => requestAnimationFrame(() => began && times.push(performance.now() - began) && (began = 0)))
    .observe(document.querySelector("#shelf"), { childList: true });
}"""


def measure(page: Page, clicks: int) -> list[float]:
    """Milliseconds of each click, warm."""
    page.evaluate(WATCH)
    items = list(ITEMS)
    for number in range(WARM + clicks):
        page.click(f"#everything [data-item={items[number % len(items)]}].item")
        shop.holds(page, "count => times.length >= count", number + 1)
    found: list[float] = page.evaluate("times")
    return found[WARM : WARM + clicks]


def run(clicks: int) -> dict[str, object]:
    """The figures."""
    with (
        load.workplace() as folder,
        shop.house(folder / "shop") as house,
        chromium() as browser,
        visitor(browser) as one,
    ):
        page = one.new_page()
        shop.enter(page, house)
        shop.agree(page)
        times = sorted(measure(page, clicks))
        told = page.evaluate("page.counts")
        chromium_version = browser.version
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {
        "click_to_decision_ms_p50": round(cuts[49], 1),
        "click_to_decision_ms_p95": round(cuts[94], 1),
        "click_to_decision_ms_p99": round(cuts[98], 1),
        "clicks": len(times),
        "events_sent": told["sent"],
        "script_bytes": SCRIPT.stat().st_size,
        "script_gzip_bytes": len(packed_script()),
        "chromium": chromium_version,
        "edgeward": version("edgeward"),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    """Print the figures; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="one JSON object, and nothing else")
    given = parser.parse_args()
    if CHROMIUM is None or not Path("/usr/sbin/mosquitto").exists():
        print("needs Chromium and mosquitto (apt-get install chromium mosquitto)", file=sys.stderr)
        return 2
    found = run(given.clicks)
    if not given.json:
        print("\n".join(f"{name:<26} {value}" for name, value in found.items()))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
