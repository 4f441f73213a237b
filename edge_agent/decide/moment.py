"""Whether now is the moment: quiet hours."""

from firmware_configs.profile import QuietHours


def quiet(hours: QuietHours | None, hour: int) -> bool:
    """Whether `hour` (0-23, local) lies in the quiet hours, which may reach past midnight."""
    if hours is None or hours.start == hours.end:
        return False
    if hours.start < hours.end:
        return hours.start <= hour < hours.end
    return hour >= hours.start or hour < hours.end
