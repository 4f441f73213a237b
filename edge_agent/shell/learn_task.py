"""What a learner is told: the offer, within what settings and profile allow."""

from math import inf
from pathlib import Path

from edge_agent.effects import Train
from edge_agent.settings import Settings
from edge_agent.shell.pipe import Learns, LearnTask, egress_of
from firmware_configs.business import business_shape_of
from firmware_configs.fleet_drift import drift_shape_of
from firmware_configs.profile import Profile
from firmware_configs.subgroups import shape_of

DELTA = 1e-5
CLIP_NORM = 1.0
"""L2 norm of an update where the profile's egress says nothing of privacy."""


def learn_task(
    settings: Settings, profile: Profile, offered: Train, *, path: str, database: Path, seed: bytes
) -> LearnTask:
    """The task for an offered round.

    Args:
        path: the active bundle's file.
        database: the agent's SQLite file.
        seed: 32 bytes, for everything random in the round.
    """
    link = settings.superlink
    kind = egress_of(offered.counts, statistic=offered.statistic)
    egress = next((one for one in profile.egress if one.kind == kind), None)
    privacy = egress.privacy if egress is not None else None
    declared = next(model for model in profile.model if model.name == offered.bundle)
    return LearnTask(
        device=settings.device,
        run=offered.run,
        bundle=offered.bundle,
        version=offered.version,
        path=path,
        database=str(database),
        superlink=link.address or offered.superlink,
        ca=link.ca,
        node_key=link.node_key,
        app_hash=offered.app_hash,
        closes_ms=offered.closes_ms,
        subjects=offered.subjects,
        unlearn=offered.unlearn,
        statistic=offered.statistic,
        counts=offered.counts,
        segments=profile.segment,
        shape=shape_of(profile, offered.bundle) if kind == "statistic" else None,
        drift=drift_shape_of(profile, offered.bundle) if kind == "statistic" else None,
        business=tuple(business_shape_of(profile, cells=cells) for cells in (False, True)) if kind == "metric" else (),
        placements=tuple(Learns(name=p.name, models=p.models, policy=p.policy) for p in profile.placement)
        if kind == "statistic"
        else (),
        examples_max=declared.examples_max,
        # Counts have no norm of their own; where a profile wants one, it says so.
        clip_norm=privacy.clip_norm if privacy else inf if offered.statistic else CLIP_NORM,
        noise_multiplier=privacy.noise_multiplier if privacy else 0.0,
        epsilon_max=privacy.epsilon_max if privacy else None,
        delta=privacy.delta if privacy else DELTA,
        population=privacy.population if privacy else "",
        secret=privacy.secret_sum if privacy else False,
        k_min=egress.k_min if egress is not None else 1,
        device_class=profile.device.class_,
        examples_min=offered.examples_min,
        memory_mib=declared.check_in.memory_mib_max,
        seed=seed,
    )
