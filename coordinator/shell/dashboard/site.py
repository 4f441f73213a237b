"""What every page of a dashboard stands on, and the table of pages."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from coordinator.dashboard.roles import Action
from coordinator.fleet.attempts import Attempts
from coordinator.shell.dashboard import database
from coordinator.shell.dashboard.asking import Ask
from coordinator.shell.dashboard.pages import business, experiments, fleet, officer, rollouts, rounds, watch
from coordinator.shell.dashboard.reckoning import Reckoner
from coordinator.shell.dashboard.trail import Trail
from coordinator.shell.dashboard.users import Users
from coordinator.shell.database import FILE

TICK_S = 10.0
"""What depends on the time alone, such as who is silent, is looked at again so often."""


class Page(Struct, frozen=True, kw_only=True):
    """One page."""

    path: str
    title: str
    action: Action
    template: str
    look: Callable[[Ask], dict[str, Any]]
    menu: str = ""
    """Its name in the menu; empty: it is reached from another page."""
    own: bool = False
    """It shows the dashboard's own file too."""


PAGES = (
    Page(path="/fleet", title="Fleet", action="look.fleet", template="fleet.html", look=fleet.fleet, menu="Fleet"),
    Page(path="/fleet/{device}", title="Device", action="look.fleet", template="device.html", look=fleet.device),
    Page(
        path="/rounds", title="Rounds", action="look.rounds", template="rounds.html", look=rounds.rounds, menu="Rounds"
    ),
    Page(path="/rounds/{run}", title="Run", action="look.rounds", template="run.html", look=rounds.run),
    Page(
        path="/rollouts",
        title="Rollouts",
        action="look.rollouts",
        template="rollouts.html",
        look=rollouts.rollouts,
        menu="Rollouts",
    ),
    Page(
        path="/rollouts/{rollout}",
        title="Rollout",
        action="look.rollouts",
        template="rollout.html",
        look=rollouts.rollout,
    ),
    Page(
        path="/experiments",
        title="Experiments",
        action="look.experiments",
        template="experiments.html",
        look=experiments.experiments,
        menu="Experiments",
    ),
    Page(
        path="/experiments/{experiment}",
        title="Experiment",
        action="look.experiments",
        template="experiment.html",
        look=experiments.experiment,
    ),
    Page(
        path="/business",
        title="Business",
        action="look.business",
        template="business.html",
        look=business.business,
        menu="Business",
    ),
    Page(path="/drift", title="Drift", action="look.drift", template="drift.html", look=watch.drift, menu="Drift"),
    Page(
        path="/budgets",
        title="Budgets",
        action="look.budgets",
        template="budgets.html",
        look=watch.budgets,
        menu="Budgets",
    ),
    Page(
        path="/audit",
        title="Audit log",
        action="look.audit",
        template="audit.html",
        look=officer.audit,
        menu="Audit",
        own=True,
    ),
    Page(
        path="/privacy",
        title="Privacy",
        action="look.privacy",
        template="privacy.html",
        look=officer.privacy,
        menu="Privacy",
    ),
)


class Site:
    """One coordinator's dashboard."""

    def __init__(self, home: Path, *, secure: bool = False, clock_ms: Callable[[], int] | None = None) -> None:
        """Args:
        secure: it is served by TLS, so cookies are kept from everything else.
        clock_ms: unix ms.
        """
        self.home, self.secure = home, secure
        self.clock_ms = clock_ms or (lambda: int(time.time() * 1_000))
        self.users, self.trail, self.attempts = Users(home, self.clock_ms), Trail(home, self.clock_ms), Attempts()
        self.reckoner = Reckoner(self._reckoned)
        self._reckoned_times = 0
        self._watched = {name: Watched(home / name) for name in (FILE, database.NAME)}

    @property
    def cookie(self) -> str:
        """Name of the session's cookie; the prefix has browsers refuse it from anywhere else (RFC 6265bis)."""
        return "__Host-edgeward" if self.secure else "edgeward"

    def _reckoned(self) -> None:
        self._reckoned_times += 1

    def stamp(self, page: Page) -> tuple[int, ...]:
        """Changes when what the page shows may have changed; takes some 50 µs."""
        names = (FILE, database.NAME) if page.own else (FILE,)
        now = self.clock_ms() // int(TICK_S * 1_000)
        return (now, self._reckoned_times, *(self._watched[name].version() for name in names))


class Watched:
    """A database file of which one wants to know whether anybody has written to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._inode = 0

    def version(self) -> int:
        """Another number than before when something was committed since, by whomever; -1: it is not there."""
        try:
            inode = self._path.stat().st_ino
            if self._database is None or inode != self._inode:
                self._database = self._opened(inode)
            (number,) = self._database.execute("PRAGMA data_version").fetchone()
        except FileNotFoundError:
            return -1
        except sqlite3.Error:
            return -2
        # A file that was put in the place of another begins to count anew.
        return int(number) + (self._inode << 20)

    def _opened(self, inode: int) -> sqlite3.Connection:
        if self._database is not None:
            self._database.close()
        self._inode = inode
        uri = f"file:{self._path}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=0, check_same_thread=False, isolation_level=None)
