"""What every page stands on: settings, the profile that runs, who may come in, who is here, and the time."""

from collections.abc import Callable
from pathlib import Path

from edge_agent.settings import Settings
from edge_agent.shell import slots
from edge_agent.shell.clock import wall_ms
from edge_agent.web.door import Door
from edge_agent.web.visits import Visits
from firmware_configs.loader import Loaded, load


class Site:
    """One device's pages."""

    def __init__(self, settings_path: Path, settings: Settings, clock: Callable[[], int] = wall_ms) -> None:
        """Args:
            settings_path: for the children that read it themselves.
            clock: unix ms.
        Raises:
            StoreUnavailable: the agent's folder is not there, or not ours.
        """
        self.settings_path, self.settings, self.clock = settings_path, settings, clock
        self.state_dir = Path(settings.state_dir)
        self.door = Door(self.state_dir)
        self.visits = Visits(settings.web.visit_s * 1_000)
        self._loaded: tuple[Path, int, Loaded] | None = None

    def profile(self) -> Loaded:
        """The profile that the agent runs; read again when its file has changed.

        Raises:
            ProfileError: it cannot be read.
        """
        path = slots.in_use(self.state_dir, Path(self.settings.profile))
        changed_ns = path.stat().st_mtime_ns if path.is_file() else 0
        if self._loaded is None or self._loaded[:2] != (path, changed_ns):
            self._loaded = (path, changed_ns, load(path))
        return self._loaded[2]
