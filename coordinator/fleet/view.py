"""One device as the fleet's commands see it."""

from msgspec import Struct

from firmware_configs.messages import Desired, Reported, Status


class DeviceView(Struct, frozen=True, kw_only=True):
    """Everything that is known of a device. Times are unix ms by the coordinator's clock; 0: never."""

    name: str
    node: int
    """Flower's node id."""
    enrolled_ms: int
    revoked: bool = False
    online: bool | None = None
    """None: nobody has said."""
    said_by: str = ""
    """Who told that it is online: `device`, `broker`; empty: nobody."""
    seen_ms: int = 0
    """When it was last heard."""
    skew_ms: int = 0
    """Its clock less ours, at its last live message; more than a message takes is its clock's fault."""
    status: Status | None = None
    reported: Reported | None = None
    desired: Desired = Desired(revision=0)
    wished_ms: int = 0
    """When the newest `desired` was written."""
    tags: dict[str, str] = {}
    groups: tuple[str, ...] = ()
    certificate_ends_ms: int = 0
    """When its newest certificate for MQTT ends; 0: it has none of ours."""

    profile_given: str = ""
    """Name of the profile that it was given with `fleet profile`: its access list follows from it."""

    @property
    def presence(self) -> str:
        """In one word."""
        if self.revoked:
            return "revoked"
        return {True: "online", False: "offline", None: "unknown"}[self.online]

    @property
    def agent(self) -> str:
        """Version of its agent; empty: not told."""
        return self.status.agent if self.status is not None else ""

    @property
    def profile(self) -> str:
        """Hash of its profile, 16 hex digits; empty: not told."""
        return self.status.profile if self.status is not None else ""

    @property
    def device_class(self) -> str:
        """As its profile says; empty: not told."""
        return self.status.device_class if self.status is not None else ""

    @property
    def learning(self) -> str:
        """State of the newest round there."""
        return self.reported.learning if self.reported is not None else ""

    @property
    def bundles(self) -> dict[str, str]:
        """Bundle → version that serves."""
        if self.reported is None:
            return {}
        states = self.reported.bundles
        served = {n: b.serving or (b.version if b.state in {"active", "shadow"} else "") for n, b in states.items()}
        return {name: version for name, version in served.items() if version}
