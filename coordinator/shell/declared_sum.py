"""A secret sum of what a profile declares as a statistic: asked of devices, accounted for, and told with its claim."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coordinator import accountant
from coordinator.accountant import Budget
from coordinator.cohort import GRACE_S
from coordinator.shell.job import Private
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.private_run import refuse_beyond_budget
from coordinator.shell.registry_store import Registry
from coordinator.shell.secret_grid import Secret
from coordinator.shell.statistic_run import enrolled, gathered, job_of, new_key, newest
from coordinator.shell.store import Store
from firmware_configs.business import BusinessShape
from firmware_configs.fleet_drift import DriftShape
from firmware_configs.profile import Egress, Privacy
from firmware_configs.subgroups import Shape

ACCOUNT = "groups of {}"
"""Under which the cost of a bundle's sums is kept, of groups and of drift: a device keeps one account of both, too.

Of the bundle's updates an account of its own tells, and of metrics, which are of no bundle, one of the profile's.
"""
BITS = 16
EPSILON_UNBOUNDED = 1e6
POPULATION = "all devices"


class Asked(Struct, frozen=True, kw_only=True):
    """What is asked for, besides what the profile says."""

    minimum_reports: int = 3
    """Devices that must be added up; the profile's k_min, where that is more."""
    vanish: float = 0.25
    """Share of them that may vanish while the sum is made."""
    collude: float = 0.0
    """Share of them that may work with the coordinator."""
    join_s: float = 30.0
    deadline_s: float = 60.0
    """At each stage."""
    grace_s: float = GRACE_S
    """Seconds that a stage waits after an answer, once all but `vanish` have answered; 0: `deadline_s`."""


class Sum(Struct, frozen=True, kw_only=True):
    """What came out."""

    run: str
    version: str
    """Of the bundle that the devices run."""
    devices: int
    privacy: str
    """The claim, in words."""
    epsilon: float | None
    """Of all sums of this bundle so far; None: no noise was promised."""
    deviation: float
    """Of the noise on each number."""
    total: NDArray[np.float64]


def add_up(
    home: Path,
    bundle: str,
    shape: Shape | DriftShape | BusinessShape,
    egress: Egress,
    promised: Privacy,
    devices: Sequence[str] | None,
    asked: Asked,
    say: Callable[[str], None],
    account: str = "",
) -> Sum:
    """Ask devices for a sum of what the shape says.

    Args:
        devices: whom; None: all that are enrolled.
        account: under what the cost is kept; empty: the bundle's, of groups and drift.
    Raises:
        UnknownBundle, UnknownDevice: nobody was asked.
        PrivacyRefused: the budget is spent; nobody was asked.
        RoundError: no sum came about; nothing is known and nothing is spent.
    """
    store, signed = Store(home), Registry.existing(home)
    parent = newest(signed, bundle)
    chosen = list(devices) if devices is not None else enrolled(store)
    private, account = _private(promised, len(chosen)), account or ACCOUNT.format(bundle)
    if private is not None:
        refuse_beyond_budget(home, account, private, 1)
    key = new_key()
    minimum = max(3, asked.minimum_reports, egress.k_min)
    job = job_of(home, key, parent, len(chosen), minimum, join_s=asked.join_s, deadline_s=asked.deadline_s)
    job = msgspec.structs.replace(
        job,
        shape=shape if isinstance(shape, Shape) else None,
        drift=shape if isinstance(shape, DriftShape) else None,
        business=shape if isinstance(shape, BusinessShape) else None,
        account=account,
        secret=Secret(
            bits=BITS,
            vanish=asked.vanish,
            collude=asked.collude,
            multiplier=promised.noise_multiplier,
            grace_s=asked.grace_s,
        ),
        private=private,
        clip_norm=promised.clip_norm,
    )
    found = gathered(home, job, parent, chosen, say)
    store.end(key)
    epsilon, privacy = _claim(home, account, promised, private)
    return Sum(
        run=key,
        version=parent.spec.version,
        devices=int(found["devices"][0]),
        privacy=privacy,
        epsilon=epsilon,
        deviation=float(found["deviation"][0]),
        total=np.asarray(found["total"], np.float64),
    )


def _private(privacy: Privacy, devices: int) -> Private | None:
    if not privacy.noise_multiplier:
        return None
    return Private(
        population=privacy.population or POPULATION,
        budget=Budget(epsilon=privacy.epsilon_max or EPSILON_UNBOUNDED, delta=privacy.delta, accountant="rdp"),
        noise_multiplier=privacy.noise_multiplier,
        rate=1.0,
        devices=devices,
        noise_by="devices",
    )


def _claim(home: Path, account: str, privacy: Privacy, private: Private | None) -> tuple[float | None, str]:
    if private is None:
        return None, f"No differential privacy: sums are clipped to norm {privacy.clip_norm:g} a device, without noise."
    spent = next(one.spent for one in PrivacyStore(home).accounts(account) if one.population == private.population)
    claim = accountant.claim(spent, privacy.delta, "rdp")
    return claim.epsilon, claim.text.replace("rounds of clipped updates", "sums of clipped counts")
