"""The bundles that this device holds: loaded at start, switched when a new one was verified."""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

from edge_agent.effects import Switch
from edge_agent.errors import BundleUnfit, SettingsError
from edge_agent.happenings import BundleFailed, BundleReady, BundleStaged, BundleWithdrawn, Happening
from edge_agent.infer.bundle import Backend, load_model
from edge_agent.infer.model import LoadedModel
from edge_agent.settings import Settings
from edge_agent.shell.deaths import DEATHS_MAX, Deaths
from edge_agent.trials import Trial, key_of, unpack
from firmware_configs.profile import Profile, Stage
from models.bundle import SUFFIX
from models.errors import BundleMalformed, ModelError

REFUSALS = (ModelError, BundleUnfit)
HELD_MAX = 6
"""Files kept of one bundle: enough to go back a few versions."""


class BundleShelf:
    """Files under `state_dir/bundles`, and the models that are active.

    Attributes:
        active: name → model; the agent's doors look at this very mapping.
        trials: name → model on trial beside the active one; the doors look at this too.
        folder: where verified bundles lie.
        backends: name → which of a bundle's artefacts runs here.
        trust: where the updater keeps TUF's metadata.
        deaths: versions on trial whose calls ended the process.
    """

    def __init__(self, settings: Settings, profile: Profile) -> None:
        self.active: dict[str, LoadedModel] = {}
        self.trials: dict[str, LoadedModel] = {}
        self._own: dict[tuple[str, str], Path] = {}
        self.folder = Path(settings.state_dir) / "bundles"
        self.trust = Path(settings.state_dir) / "trust"
        self.deaths = Deaths(self.folder)
        self._fields = {field.name for source in profile.source for field in source.field}
        self.backends: dict[str, Backend] = {model.name: model.backend for model in profile.model}

    def path(self, name: str, version: str) -> Path:
        """Where a version lies; the settings' own files count where the registry has brought none."""
        fetched = self.folder / f"{name}-{version}{SUFFIX}"
        return self._own.get((name, version), fetched) if not fetched.exists() else fetched

    def prune(self) -> int:
        """Delete files beyond HELD_MAX a bundle, the oldest first, but none that serves or is on trial.

        Returns:
            How many went.
        """
        gone = 0
        for name in self.backends:
            needed = {held.version for held in (self.active.get(name), self.trials.get(name)) if held is not None}
            files = sorted(self._files(name), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in files[HELD_MAX:]:
                if _version_of(path) not in needed:
                    path.unlink()
                    gone += 1
        return gone

    def _files(self, name: str) -> list[Path]:
        return [path for path in self.folder.glob(f"{name}-*{SUFFIX}") if name_of(path) == name]

    def load(self, name: str, version: str) -> LoadedModel:
        """A version that lies here, on the backend that the profile names.

        Raises:
            ModelError: it cannot be loaded, the file holds something else than its name says, or the agent has died
                DEATHS_MAX times while it loaded it.
            BundleUnfit: it needs fields that the profile does not collect.
        """
        path = self.path(name, version)
        with self._surviving(name, version):
            model = self._fitting(load_model(path, self.backends.get(name, "onnx")))
        if (model.name, model.version) != (name, version):
            raise BundleMalformed(
                f"{path.name} holds {model.name} {model.version}", hint="publish it again under its own name"
            )
        return self.deaths.watched(model)

    @contextlib.contextmanager
    def _surviving(self, name: str, version: str) -> Iterator[None]:
        """A mark on the disk while a bundle loads. What a process that died there left behind is one byte a death."""
        mark = self.folder / f".{name}-{version}.loading"
        deaths = mark.stat().st_size if mark.exists() else 0
        if deaths >= DEATHS_MAX:
            raise BundleMalformed(
                f"the agent died {deaths} times while it loaded {name} {version}",
                hint=f"deploy another version; or have it probed again: edge-agent bundles use {name} {version}",
            )
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            mark.write_bytes(b"!" * (deaths + 1))
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                mark.unlink()

    def _fitting(self, model: LoadedModel) -> LoadedModel:
        missing = sorted(set(model.spec.needed_fields) - self._fields)
        if missing:
            raise BundleUnfit(
                f"{model.name} {model.version} needs {', '.join(missing)}, which the profile does not collect",
                hint="collect them, or build a bundle without them",
            )
        return model

    def switch(self, asked: Switch) -> BundleReady | BundleStaged | BundleWithdrawn | BundleFailed:
        """Do what the agent asks, and say what runs now; what serves goes on serving until the new one is loaded."""
        name, version, active = asked.name, asked.version, self.active.get(asked.name)
        if asked.to == "out":
            self.trials.pop(name, None)
            return BundleWithdrawn(name=name, version=version, reason=asked.reason)
        held = next((m for m in (active, self.trials.get(name)) if m is not None and m.version == version), None)
        try:
            model = held or self.load(name, version)
        except REFUSALS as error:
            return BundleFailed(name=name, version=version, code=error.code, reason=f"{error.what}; fix: {error.hint}")
        if asked.to != "full" and model is not active:
            self.trials[name] = model
            return BundleStaged(name=name, version=version, stage=asked.to)
        self.trials.pop(name, None)
        self.active[name] = model
        base = active.version if active is not None and active is not model else ""
        return BundleReady(name=name, version=version, base=base, reason=asked.reason if base else "")

    def take_up(self, names: Iterable[str], recall: Callable[[str, str], bytes | None]) -> list[Happening]:
        """Load what served and what was on trial when the agent ended.

        Args:
            names: of the profile's bundles.
            recall: (room, key) → committed bytes.
        Returns:
            What runs, or does not. A version that cannot be loaded any more gives way to the one before.
        """
        self.deaths.bury()
        return [news for name in names for news in self._take_up(name, recall)]

    def _take_up(self, name: str, recall: Callable[[str, str], bytes | None]) -> list[Happening]:
        stored, previous, trial = (recall("meta", key) for key in (f"bundle:{name}", f"previous:{name}", key_of(name)))
        version = stored.decode() if stored else ""
        news: list[Happening] = []
        if version and (name not in self.active or self.path(name, version).exists()):
            news += self._load_or_go_back(name, version, previous.decode() if previous else "")
        elif name in self.active:
            news.append(BundleReady(name=name, version=self.active[name].version))
        found = unpack(trial) if trial else None
        return news + (self._take_up_trial(name, found) if found is not None else [])

    def _load_or_go_back(self, name: str, version: str, previous: str) -> list[Happening]:
        own, active = self._own.get((name, version)), self.active.get(name)
        if own is not None and active is not None and (active.version, self.path(name, version)) == (version, own):
            return [BundleReady(name=name, version=version)]  # the settings' own was loaded a moment ago
        try:
            self.active[name] = self.load(name, version)
        except REFUSALS as error:
            failed = BundleFailed(
                name=name, version=version, code=error.code, reason=f"{error.what}; fix: {error.hint}"
            )
            try:
                self.active[name] = self.load(name, previous)
            except REFUSALS:
                return [failed]
            reason = f"it cannot be loaded any more: {error.code} {error.what}"
            return [failed, BundleReady(name=name, version=previous, base=version, reason=reason)]
        return [BundleReady(name=name, version=version)]

    def _take_up_trial(self, name: str, trial: Trial) -> list[Happening]:
        died = self.deaths.of(name, trial.version)
        if died >= DEATHS_MAX:
            reason = f"{died} calls of it ended the agent's process"
            to: Stage | Literal["out"] = "full" if trial.stage == "full" else "out"
            version = trial.base if to == "full" else trial.version
            return [self.switch(Switch(name=name, version=version, to=to, reason=reason))]
        if trial.stage == "full":
            return []
        said = self.switch(Switch(name=name, version=trial.version, to=trial.stage))
        if not isinstance(said, BundleFailed):
            return []  # it goes on as if nothing had happened
        return [BundleWithdrawn(name=name, version=trial.version, reason=f"{said.code} {said.reason}")]

    def unsigned(self, settings: Settings) -> list[LoadedModel]:
        """The settings' own bundles, which no registry has signed; for development.

        Raises:
            SettingsError: `allow_unsigned` is not set, or a file is no bundle.
        """
        if settings.bundles and not settings.allow_unsigned:
            raise SettingsError(
                f"`bundles` names {len(settings.bundles)} files that no registry has signed",
                hint="deploy them with edge-coordinator, or set allow_unsigned = true for development",
            )
        loaded = []
        for file in settings.bundles:
            try:
                model = self._fitting(load_model(Path(file), self.backends.get(name_of(Path(file)), "onnx")))
            except REFUSALS as error:
                raise SettingsError(f"bundles: {file}: {error.what}", hint=error.hint) from error
            self.active[model.name] = model
            self._own[model.name, model.version] = Path(file)
            loaded.append(model)
        return loaded

    def ensure_trust(self, trusted_root: str) -> bool:
        """Lay the trusted root down for the updater, once; False when the device was given none."""
        if any((self.trust / name).exists() for name in ("anchor.json", "root.json")):
            return True
        if not trusted_root:
            return False
        self.trust.mkdir(parents=True, exist_ok=True)
        draft = self.trust / ".root.json.part"
        shutil.copyfile(trusted_root, draft)
        draft.replace(self.trust / "root.json")
        return True


def name_of(path: Path) -> str:
    """The bundle's name, from the name of its file."""
    return path.name.removesuffix(SUFFIX).rsplit("-", 1)[0]


def _version_of(path: Path) -> str:
    return path.name.removesuffix(SUFFIX).rsplit("-", 1)[1]
