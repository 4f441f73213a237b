"""What lineage is told from: the registry, what is attested, the database of rounds, and what devices reported."""

from pathlib import Path

from coordinator.errors import AttestationInvalid, UnknownBundle
from coordinator.lineage import Version, on_devices
from coordinator.provenance import Made, made_of
from coordinator.shell.fleet_store import FleetStore
from coordinator.shell.registry_store import Registry, Target
from coordinator.shell.rollout_store import RolloutStore
from coordinator.shell.store import Store

DEPTH_MAX = 64


def ancestry(home: Path, bundle: str, version: str) -> list[Version]:
    """The version and its parents, as far as they are known, newest first.

    Args:
        version: empty: the newest.
    Raises:
        UnknownBundle: it is not published.
    """
    registry = Registry.existing(home)
    published = {target.version: target for target in registry.published() if target.bundle == bundle}
    wanted = version or registry.newest(bundle) or ""
    if wanted not in published:
        known = ", ".join(published) or "none"
        raise UnknownBundle(f"{bundle} {wanted} is not published".strip(), hint=f"versions of {bundle}: {known}")
    made = {one: _made(registry, bundle, one) for one in published}
    found: list[Version] = []
    ahead = [wanted]
    while ahead and len(found) < DEPTH_MAX:
        one = ahead.pop(0)
        if one in {seen.version for seen in found}:
            continue
        found.append(_told(home, bundle, one, published.get(one), made))
        ahead += sorted(found[-1].made.parents)
    return found


def _told(home: Path, bundle: str, version: str, target: Target | None, made: dict[str, tuple[Made, str]]) -> Version:
    own, attestation = made.get(version, (Made(), "none"))
    views = FleetStore(home).views()
    return Version(
        bundle=bundle,
        version=version,
        sha256=target.sha256 if target is not None else own_digest(version, made),
        fleets=target.fleets if target is not None else (),
        attestation=attestation,
        made=own,
        rounds=tuple(Store(home).rounds(own.run)) if own.run else (),
        children=tuple(other for other, (one, _) in made.items() if version in one.parents),
        rollouts=_rollouts(home, bundle, version),
        devices=on_devices(
            bundle,
            version,
            {view.name: view.desired for view in views},
            {view.name: view.reported for view in views if view.reported is not None},
        ),
    )


def own_digest(version: str, made: dict[str, tuple[Made, str]]) -> str:
    """The sha256 of a version that is gone, as its children attest it."""
    return next((one.parents[version] for one, _ in made.values() if version in one.parents), "")


def _made(registry: Registry, bundle: str, version: str) -> tuple[Made, str]:
    try:
        found = registry.attestation(bundle, version)
    except (AttestationInvalid, OSError) as error:
        return Made(), f"invalid: {error}"
    return (made_of(found), "signed by its role") if found is not None else (Made(), "none")


def _rollouts(home: Path, bundle: str, version: str) -> tuple[str, ...]:
    store = RolloutStore(home)
    try:
        found = [one for one in store.all() if (one.plan.bundle, one.plan.version) == (bundle, version)]
    finally:
        store.close()
    return tuple(f"{one.key}: {one.state}" for one in found)
