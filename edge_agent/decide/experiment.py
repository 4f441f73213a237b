"""Which arm of an experiment a subject is in: by keyed hash, so it stays as long as the experiment's name."""

import hashlib
import hmac

from firmware_configs.profile import Arm, Experiment


def assign(experiment: Experiment, subject: str, secret: bytes) -> Arm | None:
    """The subject's arm; None for subjects outside the experiment's share.

    Source: deterministic bucketing by hash, as in Kohavi et al. 2009, "Controlled experiments on the web", 4.1.
    """
    digest = hmac.new(secret, f"{experiment.name}\x00{subject}".encode(), hashlib.sha256).digest()
    if int.from_bytes(digest[:8]) >= experiment.share * 2.0**64:
        return None
    total = sum(arm.weight for arm in experiment.arms)
    at = int.from_bytes(digest[8:16]) / 2.0**64 * total
    for arm in experiment.arms:
        at -= arm.weight
        if at < 0.0:
            return arm
    return experiment.arms[-1]
