"""`edge-coordinator bandit merge`: what the policies of many devices have seen, as the beginning of a new version."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coordinator import registry
from coordinator.cohort import GRACE_S
from coordinator.errors import RoundFileInvalid
from coordinator.provenance import DataWindow, Made
from coordinator.shell.job import Bandit, Private
from coordinator.shell.origin import code_versions, privacy_of
from coordinator.shell.private_run import claim_of, private_of, refuse_beyond_budget
from coordinator.shell.registry_store import Registry
from coordinator.shell.request import EVERYONE, Request
from coordinator.shell.secret_grid import Secret
from coordinator.shell.statistic_run import enrolled, gathered, job_of, new_key, newest
from coordinator.shell.store import Store
from firmware_configs import strict
from models import arrays, bandit_sums, warm_start
from models.bandit_sums import Form, Kind
from models.bundle import Bundle, write_bundle
from models.errors import SpecInvalid
from models.spec import Spec, verified

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
NORM = 1_000.0
"""Of a device's sums where they must have one and nobody says which."""


class Column(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The scale of one feature column."""

    mean: float
    deviation: float


class Scaling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that says it of all columns."""

    features: dict[str, Column]


class Asked(Struct, frozen=True, kw_only=True):
    """What is asked for."""

    bundle: str
    placement: str
    kind: Kind = "regressions"
    scale: Path | None = None
    """TOML, as `Scaling`: name of a feature column → mean and deviation; None: as the bundle says."""
    rewards_max: float = 0.0
    """Rewards that an item's beginning counts for at most; 0: all."""
    minimum_reports: int = 3
    clip_norm: float = 0.0
    """L2 norm of a device's sums; 0: none, or `NORM` where they are summed in secret or noised."""
    secret_sum: bool = False
    secret_bits: int = 20
    vanish: float = 0.25
    collude: float = 0.0
    """Share of the devices that may work with the coordinator."""
    grace_s: float = GRACE_S
    """Seconds that a secret sum's stage waits after an answer, once all but `vanish` have answered; 0: `deadline_s`."""
    epsilon_max: float = 0.0
    delta: float = 1e-5
    noise: float = 0.0
    population: str = EVERYONE
    join_s: float = 30.0
    deadline_s: float = 60.0


class Merged(Struct, frozen=True, kw_only=True):
    """What came out."""

    run: str
    bundle: str
    version: str
    """The parent."""
    published: str
    devices: int
    rewards: float
    """Of all items together, as they were added up."""
    items: int
    """With any reward."""
    numbers: int
    """Of a device's vector."""
    privacy: str


def merge(home: Path, asked: Asked, say: Callable[[str], None]) -> Merged:
    """Ask devices for their sums, and publish a version that begins with them.

    Raises:
        UnknownBundle: nothing of this name is published.
        UnknownDevice: nobody is enrolled.
        SpecInvalid: the bundle cannot hold such sums, or there is no scale for its features.
        BudgetInvalid, PrivacyRefused: the budget makes no sense, or does not allow it.
        RoundError: too few devices told sums; nothing is published.
    """
    home = home.resolve()
    store, signed = Store(home), Registry.existing(home)
    parent = newest(signed, asked.bundle)
    form = bandit_sums.form_of(asked.kind, parent.spec, len(parent.catalogue()))
    scale = scale_of(parent, asked.scale) if asked.kind == "regressions" else None
    devices = enrolled(store)
    norm = asked.clip_norm or (NORM if asked.secret_sum or asked.epsilon_max else 0.0)
    request = _request(asked, norm)
    private = private_of(request, len(devices))
    if private is not None:
        refuse_beyond_budget(home, asked.bundle, private, 1)
    key = new_key()
    job = msgspec.structs.replace(
        job_of(
            home, key, parent, len(devices), asked.minimum_reports, join_s=asked.join_s, deadline_s=asked.deadline_s
        ),
        clip_norm=norm or 1.0,
        bandit=Bandit(
            placement=asked.placement,
            kind=asked.kind,
            mean=tuple(scale[0].tolist()) if scale is not None else (),
            deviation=tuple(scale[1].tolist()) if scale is not None else (),
            clips=norm > 0.0,
        ),
        private=private,
        secret=_secret(asked, private),
    )
    found = gathered(home, job, parent, devices, say)
    total, told = np.asarray(found["total"], np.float64), int(found["devices"][0])
    noise = private.noise_multiplier * norm if private is not None else 0.0
    made = bandit_sums.warm_start_of(form, total, asked.rewards_max, noise)
    claimed = claim_of(home, asked.bundle, private, norm, store.rounds(key)) if norm else "No noise, so no ε."
    privacy = privacy_of(signed, request, claimed)
    version = _publish(signed, parent, asked, made, scale, told, privacy, home / "runs" / key)
    store.publish_rounds(key, version)
    store.end(key, result=version)
    weight = _weights(form, total)
    return Merged(
        run=key,
        bundle=asked.bundle,
        version=parent.spec.version,
        published=version,
        devices=told,
        rewards=float(weight.sum()),
        items=int((weight > 0.0).sum()),
        numbers=form.size,
        privacy=claimed,
    )


def scale_of(parent: Bundle, path: Path | None) -> tuple[F64, F64]:
    """Mean and deviation of each feature column, float32 values in float64.

    Raises:
        SpecInvalid: neither the bundle nor a file says them, or the file's columns are not the bundle's.
    """
    names = warm_start.columns(parent.spec)
    if path is None:
        start = parent.warm_start()
        if start is not None and start.scale is not None:
            return start.scale
        if not names:
            return np.zeros(0), np.zeros(0)
        such = ", ".join(f"{name!r} = {{ mean = 0.0, deviation = 1.0 }}" for name in names[:3])
        raise SpecInvalid(
            f"`{parent.spec.name}` declares no scale of its {len(names)} feature columns, so sums do not add up",
            hint=f"--scale FILE, a TOML file with [features] and a line for each column: {such}",
        )
    text = strict.read_text(path, RoundFileInvalid)
    document = strict.read_toml(text, str(path), RoundFileInvalid)
    given = strict.convert(document, Scaling, str(path), RoundFileInvalid).features
    if strangers := sorted(set(given) ^ set(names)):
        raise RoundFileInvalid(
            f"{path}: columns {strangers} are missing or unknown", hint=f"one line for each of: {', '.join(names)}"
        )
    numbers = np.array([[column.mean, column.deviation] for column in given.values()])
    if not np.isfinite(numbers).all() or (numbers[:, 1] < 0.0).any():
        raise RoundFileInvalid(f"{path}: a mean or deviation is out of range", hint="finite, deviations of 0 or more")
    pairs = np.array([[given[name].mean, given[name].deviation] for name in names], np.float32).astype(np.float64)
    return pairs[:, 0], pairs[:, 1]


def _request(asked: Asked, norm: float) -> Request:
    return Request(
        bundle=asked.bundle,
        minimum_reports=asked.minimum_reports,
        clip_norm=norm or 1.0,
        secret_sum=asked.secret_sum,
        secret_bits=asked.secret_bits,
        vanish=asked.vanish,
        collude=asked.collude,
        epsilon_max=asked.epsilon_max,
        delta=asked.delta,
        noise=asked.noise,
        population=asked.population,
        join_s=asked.join_s,
        deadline_s=asked.deadline_s,
    )


def _secret(asked: Asked, private: Private | None) -> Secret | None:
    if not asked.secret_sum:
        return None
    by_devices = private is not None and private.noise_by == "devices"
    multiplier = private.noise_multiplier if private is not None and by_devices else 0.0
    return Secret(
        bits=asked.secret_bits,
        vanish=asked.vanish,
        collude=asked.collude,
        multiplier=multiplier,
        grace_s=asked.grace_s,
    )


def _weights(form: Form, total: F64) -> F64:
    """Rewards of each item, by a sum of vectors."""
    table = total.reshape(form.items, form.each)
    return np.maximum(table.sum(axis=1) if form.kind == "rewards" else table[:, -1], 0.0)


def _publish(
    signed: Registry,
    parent: Bundle,
    asked: Asked,
    made: dict[str, F32],
    scale: tuple[F64, F64] | None,
    devices: int,
    privacy: dict[str, object],
    folder: Path,
) -> str:
    version = registry.next_version(signed.paths(), parent.spec.name, parent.spec.version)
    files = {name: parent.read(name) for name in parent.files}
    held = arrays.unpack(files[warm_start.FILE], warm_start.FILE) if warm_start.FILE in files else {}
    if scale is not None:
        made = {**made, "mean": scale[0].astype(np.float32), "deviation": scale[1].astype(np.float32)}
    files[warm_start.FILE] = arrays.pack({**held, **made})
    warm_start.unpack(files[warm_start.FILE], parent.spec, parent.catalogue())
    files["card.md"] += card_note(parent.spec, version, asked, devices, str(privacy["claim"])).encode()
    spec = msgspec.structs.replace(parent.spec, version=version, parents=(parent.spec.version,))
    attested = Made(
        run=folder.name,
        rounds=(1,),
        parents={parent.spec.version: parent.sha256},
        window=DataWindow(kind="on devices", until=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), devices=devices),
        parameters={"statistic": "bandit", "placement": asked.placement, "kind": asked.kind},
        privacy=privacy,
        evaluation={},
        code=code_versions(),
    )
    signed.publish(write_bundle(folder, verified(spec), files), attested)
    return version


def card_note(parent: Spec, version: str, asked: Asked, devices: int, claimed: str) -> str:
    """The paragraph of the card that tells where the beginning of bandits comes from."""
    seen = "in secret: nobody saw a single one" if asked.secret_sum else "by the coordinator, which saw each"
    most = f" An item's beginning counts for {asked.rewards_max:g} rewards at most." if asked.rewards_max else ""
    return (
        f"\n## Version {version}, from {parent.version}: a beginning for bandits\n\n"
        f"What the policy of placement `{asked.placement}` saw on {devices} devices ({asked.kind}), added up {seen}. "
        f"It replaces the beginning that the parent brought; the model is the same.{most} {claimed}\n"
    )
