"""The bundles that this device holds: loaded at start, switched when a new one was verified."""

import shutil
from pathlib import Path

from edge_agent.errors import SettingsError
from edge_agent.infer.bundle import Backend, load_model
from edge_agent.infer.model import LoadedModel
from edge_agent.settings import Settings
from firmware_configs.profile import Profile
from models.bundle import SUFFIX
from models.errors import ModelError


class BundleShelf:
    """Files under `state_dir/bundles`, and the models that are active.

    Attributes:
        active: name → model; the agent's doors look at this very mapping.
        folder: where verified bundles lie.
        backends: name → which of a bundle's artefacts runs here.
        trust: where the updater keeps TUF's metadata.
    """

    def __init__(self, settings: Settings, profile: Profile) -> None:
        self.active: dict[str, LoadedModel] = {}
        self.folder = Path(settings.state_dir) / "bundles"
        self.trust = Path(settings.state_dir) / "trust"
        self.backends: dict[str, Backend] = {model.name: model.backend for model in profile.model}

    def path(self, name: str, version: str) -> Path:
        """Where a version lies."""
        return self.folder / f"{name}-{version}{SUFFIX}"

    def activate(self, path: Path) -> LoadedModel:
        """Load a verified bundle and make it the active one; the old one serves until then.

        Raises:
            ModelError: it cannot be loaded; nothing changes.
        """
        model = load_model(path, self.backends.get(name_of(path), "onnx"))
        self.active[model.name] = model
        return model

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
                model = self.activate(Path(file))
            except ModelError as error:
                raise SettingsError(f"bundles: {file}: {error.what}", hint=error.hint) from error
            loaded.append(model)
        return loaded

    def ensure_trust(self, trusted_root: str) -> bool:
        """Lay the trusted root down for the updater, once; False when the device was given none."""
        if (self.trust / "root.json").exists():
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
