"""`python -m demo`: run the story, print a summary, stop what was started."""

import shutil
import signal
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from demo import story as steps
from demo import summary as page
from demo.pages.house import House
from demo.people import find_population
from demo.stack import DemoFailed, Stack
from demo.wire import Wire


@click.command()
@click.option("--agents", default=5, show_default=True, type=click.IntRange(1, 20), help="How many homes.")
@click.option("--events", default=80, show_default=True, type=click.IntRange(5, 5_000), help="Interactions a home.")
@click.option("--readings", default=60, show_default=True, type=click.IntRange(0, 2_665), help="Room readings a home.")
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1, 50), help="Federated rounds.")
@click.option("--seed", default=7, show_default=True, help="Chooses the people and the negatives.")
@click.option(
    "--dir",
    "root",
    default=".demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where to work.",
)
@click.option("--summary", default="demo-summary.json", show_default=True, type=click.Path(path_type=Path))
@click.option("--keep", is_flag=True, help="Leave everything running at the end and print the URLs.")
def main(
    agents: int, events: int, readings: int, rounds: int, seed: int, root: Path, summary: Path, keep: bool
) -> None:
    """The whole flow on this machine, in one to two minutes: events, decisions, feedback, rounds, a new bundle.

    Uses MovieLens 100K where it is at hand (see data/README.md), else the Open Bandit slice in data/.
    """
    console = Console()
    shutil.rmtree(root, ignore_errors=True)
    summary.unlink(missing_ok=True)
    stack = Stack(root.resolve())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        story = steps.Story(
            console=console,
            root=root.resolve(),
            population=find_population(agents, events, seed),
            rounds=rounds,
            room_readings=readings,
            seed=seed,
            stack=stack,
        )
        found = tell(story)
        page.write(found, summary)
        page.show(found, console)
        console.print(f"Written to {summary}.")
        if keep:
            wait_for_the_user(story)
    except DemoFailed as error:
        console.print(f"[red]error:[/red] {error}\n  fix: {error.hint}", highlight=False)
        sys.exit(1)
    finally:
        if killed := stack.stop():
            console.print(f"[yellow]had to kill: {', '.join(killed)}[/yellow]")


def tell(story: steps.Story) -> page.Summary:
    """All steps, in order."""
    people = story.population
    story.tell(f"{len(people.people)} people of {people.source}, {people.catalogue} items")
    bundles = steps.build_bundles(story)
    steps.start_coordinator(story, bundles)
    steps.start_agents(story, bundles)
    wire = Wire(story.endpoints["broker"])
    try:
        first = dict(path.name.removesuffix(".edgeward").rsplit("-", 1) for path in bundles)
        steps.wait_for_bundles(story, wire, first, seconds=60)
        before = steps.versions(story, wire)
        steps.live(story, wire)
        story.tell("each home ranks what its person did next, before learning")
        hits_before = steps.hits(story, wire, "before")
        trained = steps.train(story)
        steps.wait_for_bundles(story, wire, {steps.BUNDLE: str(trained["version"])}, seconds=60)
        story.tell(f"every home fetched, checked and runs {steps.BUNDLE} {trained['version']}; ranking again")
        hits_after = steps.hits(story, wire, "after")
        found = steps.summarise(story, wire, before, hits_before, hits_after)
        story.tell(f"why did a home decide that? edge-agent explain {story.last_pick}")
        story.console.print(steps.explain(story), highlight=False)
    finally:
        wire.close()
    return found


def wait_for_the_user(story: steps.Story) -> None:
    """Leave it running until Ctrl-C, with a shop beside it whose pages can be touched."""
    shop = House(story.root / "shop")
    try:
        _open(shop, story)
        _wait(story, shop)
    finally:
        shop.stop()


def _open(shop: House, story: steps.Story) -> None:
    try:
        shop.start()
    except DemoFailed as error:  # the homes are there all the same
        story.console.print(f"no shop: {error}\n  fix: {error.hint}", highlight=False)
        return
    for name in ("shop", "kiosk"):
        story.endpoints[name] = f"{shop.url}/{name}.html"


def _wait(story: steps.Story, shop: House) -> None:
    for name, where in story.endpoints.items():
        story.console.print(f"  {name:<10} {where}")
    story.console.print(f"Agents' state: {story.root}/home-*; logs: {story.stack.logs}. Ctrl-C stops everything.")
    try:
        while True:
            time.sleep(1)
            story.stack.check()
            shop.stack.check()
    except KeyboardInterrupt:
        story.console.print("stopping")


if __name__ == "__main__":
    main()
