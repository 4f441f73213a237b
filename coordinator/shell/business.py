"""Business figures as the commands run them: reports from broker or file, releases accounted for and kept."""

import math
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from coordinator import business
from coordinator.accountant import Budget, Spend
from coordinator.business import Plan, Release
from coordinator.cohort import GRACE_S
from coordinator.errors import HomeUnreadable, NotDeclared, NothingReleased
from coordinator.shell.home import endpoints_of
from coordinator.shell.measured import from_broker, from_file
from coordinator.shell.privacy_store import PrivacyStore
from coordinator.shell.store import Store
from firmware_configs.business import SUMS
from firmware_configs.loader import load
from firmware_configs.measured import Measured
from models.business import halves

FOLDER = "business"
POPULATION = "all devices"
POPULATION_SUMMED = "all devices, in secret sums"
"""Their noise is the devices' own and accounted in another way, so it has a budget of its own."""
WAIT_S = 1.0


class Patience(Struct, frozen=True, kw_only=True):
    """With a secret sum: how many devices must be in it, and how long they are waited for."""

    minimum_reports: int = 3
    vanish: float = 0.25
    """Share of them that may vanish while the sum is made."""
    collude: float = 0.0
    """Share of them that may work with the coordinator."""
    join_s: float = 30.0
    """Seconds for devices to come."""
    deadline_s: float = 60.0
    """Seconds at each stage."""
    grace_s: float = GRACE_S
    """Seconds that a stage waits after an answer, once all but `vanish` have answered; 0: `deadline_s`."""


def declared(profile: Path, *, cells: bool = False) -> Plan:
    """What a profile lets be told of its metrics.

    Raises:
        ProfileError: it cannot be used.
        NotDeclared: it has no metric that is a share or a value, or lets no sums of them out.
    """
    loaded = load(profile).profile
    egress = next((one for one in loaded.egress if one.kind == "metric"), None)
    if egress is None or not loaded.metric:
        missing = 'no [[egress]] of kind "metric"' if loaded.metric else "no [[metric]]"
        raise NotDeclared(f"{profile} has {missing}", hint="declare it in the profile, on the devices too")
    plan = business.planned(loaded, egress, cells=cells)
    if not plan.groups:
        hint = "declare a [[metric]] of kind rate, return, value or lifetime-value"
        raise NotDeclared(f"{profile} has no metric that is a share or a value", hint=hint)
    return plan


def release(
    home: Path,
    profile: Path,
    *,
    cells: bool = False,
    reports: Path | None = None,
    patience: Patience = Patience(),  # noqa: B008 - it is a value
    say: Callable[[str], None] = lambda _line: None,
) -> Release:
    """Add up what devices have told, or ask them to add it up in secret; account for it, keep it.

    Args:
        reports: JSON lines instead of the broker's.
        patience: with a secret sum.
    Raises:
        NotDeclared: the profile lets nothing out, or in a secret sum alone, and reports are given.
        TooFewDevices: nothing is told, nothing is spent.
        PrivacyRefused: the budget of the profile is spent; nothing is told.
        UnknownBundle, UnknownDevice: there is nobody to ask for a secret sum.
        RoundError: no secret sum came about; nothing is known and nothing is spent.
    """
    plan = declared(profile, cells=cells)
    home = home.resolve()
    if plan.in_secret:
        if reports is not None:
            hint = "leave out --from: the devices are asked"
            raise NotDeclared(f"{profile} lets sums of metrics out in secret alone", hint=hint)
        return _kept(home, _summed(home, plan, load(profile).profile.model[0].name, patience, say))
    return _kept(home, _blurred(home, plan, reports))


def _summed(home: Path, plan: Plan, bundle: str, patience: Patience, say: Callable[[str], None]) -> Release:
    """A release of which the coordinator has seen the sum alone.

    Args:
        bundle: whose learner makes the sum; any of the profile's will do.
    """
    from coordinator.shell.declared_sum import Asked, add_up  # with Flower, which whoever only reads needs not

    promised = plan.egress.privacy
    assert promised is not None  # noqa: S101 - a secret sum is declared in it
    population = promised.population or POPULATION_SUMMED
    asked = Asked(**msgspec.structs.asdict(patience))
    promised = msgspec.structs.replace(promised, population=population)
    found = add_up(home, bundle, plan.shape, plan.egress, promised, None, asked, say, _account(plan))
    return Release(
        number=_next(home, plan),
        plan=plan,
        sums=found.total.reshape(-1, SUMS).tolist(),
        scale=halves(plan.clip)[1],
        noise=found.deviation,
        devices=str(found.devices),
        privacy=found.privacy,
        epsilon=found.epsilon,
        refused={},
        time_ms=int(time.time() * 1_000),
    )


def _blurred(home: Path, plan: Plan, reports: Path | None) -> Release:
    """A release of what devices have told singly."""
    enrolled = sorted(device.name for device in Store(home).devices())
    told: list[Measured]
    told = from_file(reports) if reports is not None else from_broker(endpoints_of(home).broker, enrolled, WAIT_S, home)
    total, scale, devices, refused = business.gather(plan, told, enrolled)
    number = _next(home, plan)
    epsilon = _spend(home, plan, number)
    dice = np.random.default_rng(secrets.randbits(256))
    return Release(
        number=number,
        plan=plan,
        sums=business.blurred(total, plan.noise, dice.standard_normal).tolist(),
        scale=scale,
        noise=plan.noise,
        devices=f"at least {max(1, plan.egress.k_min)}" if plan.noise else str(devices),
        privacy=business.claim(plan, epsilon, number),
        epsilon=epsilon if plan.noise else None,
        refused=refused,
        time_ms=int(time.time() * 1_000),
    )


def _next(home: Path, plan: Plan) -> int:
    before = releases(home, plan.profile)
    return before[-1].number + 1 if before else 1


def _account(plan: Plan) -> str:
    return f"business {plan.profile}"


def _kept(home: Path, made: Release) -> Release:
    plan = made.plan
    _path(home, plan.profile).parent.mkdir(parents=True, exist_ok=True)
    with _path(home, plan.profile).open("ab") as file:
        file.write(msgspec.json.encode(made) + b"\n")
    return made


def _spend(home: Path, plan: Plan, number: int) -> float:
    """Enter the release before it is made; returns ε of all of them."""
    privacy = plan.egress.privacy
    if privacy is None or not plan.noise:
        return math.inf
    budget = Budget(epsilon=privacy.epsilon_max or math.inf, delta=privacy.delta)
    spend = Spend(noise_multiplier=privacy.noise_multiplier, rate=1.0)
    account = _account(plan)
    return PrivacyStore(home).spend(account, POPULATION, budget, account, number, spend)


def releases(home: Path, name: str) -> list[Release]:
    """All releases of a profile, oldest first.

    Raises:
        HomeUnreadable: the file is damaged.
    """
    path = _path(home, name)
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            try:
                found.append(msgspec.json.decode(line, type=Release))
            except msgspec.MsgspecError as error:
                hint = "take the line out, or put a backup of the home back; what it cost stays entered"
                raise HomeUnreadable(f"{path}, line {number}, is no release: {error}", hint=hint) from None
    return found


def newest(home: Path, name: str) -> Release:
    """The newest release; looking again costs nothing.

    Raises:
        NothingReleased: there is none.
    """
    found = releases(home, name)
    if not found:
        raise NothingReleased(
            f"nothing of `{name}` was released yet, and a release spends of its privacy budget",
            hint="edge-coordinator business release PROFILE.toml",
        )
    return found[-1]


def known(home: Path) -> list[Release]:
    """The newest release of every profile, by name."""
    names = sorted(path.stem for path in (home / FOLDER).glob("*.jsonl"))
    return [newest(home, name) for name in names]


def _path(home: Path, name: str) -> Path:
    return home / FOLDER / f"{name}.jsonl"
