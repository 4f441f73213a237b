"""Which `desired` a device takes: a newer one, for this device, of the coordinator that it belongs to."""

from firmware_configs.messages import Desired
from firmware_configs.windows import window_fault


def refusal(offered: Desired, held: Desired, device: str, coordinator: str) -> str:
    """Why a `desired` that differs from the one held is not taken; empty: it is.

    Args:
        held: what was taken last; revision 0: nothing yet.
        coordinator: id of the one that this device was enrolled with; empty: the first one that is taken.
    """
    if offered.device and offered.device != device:
        return f"foreign: it is for `{offered.device}`"
    ours = coordinator or held.by
    if ours and offered.by != ours:
        writer = f"coordinator {offered.by}" if offered.by else "someone who does not say who"
        return f"foreign: {writer} wrote it, this device belongs to coordinator {ours}"
    if offered.revision < held.revision:
        return f"stale: revision {offered.revision} came after {held.revision}"
    if offered.revision == held.revision:
        return f"conflict: another state of revision {offered.revision} was taken before"
    fault = window_fault(offered.maintenance)
    return f"invalid: maintenance: {fault}" if fault else ""
