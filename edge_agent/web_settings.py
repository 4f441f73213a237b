"""The part of agent.toml that only `edge-agent web` reads."""

from typing import Annotated

from msgspec import Meta, Struct


class Web(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The device's own page, served by `edge-agent web`; read by that process only."""

    listen: Annotated[
        str,
        Meta(
            pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$",
            description="`host:port`; beyond this machine only with `cert` and `key`, or `plain`",
        ),
    ] = "127.0.0.1:8477"
    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/\s]+)?$",
            description="address that people type, such as `https://home.example:8477`; empty: `listen`'s",
        ),
    ] = ""
    cert: Annotated[str, Meta(description="certificate (PEM) with its chain; empty: no TLS")] = ""
    key: Annotated[str, Meta(description="private key (PEM, without passphrase) of `cert`")] = ""
    plain: Annotated[
        bool,
        Meta(description="no TLS beyond this machine: for a proxy that adds it, or a line that is secret by itself"),
    ] = False
    origins: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^https?://[^/\s]+$")], ...],
        Meta(max_length=20, description="pages elsewhere that may capture for this device: `https://shop.example`"),
    ] = ()
    subjects: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(
            max_length=20,
            description="how names begin for which pages may speak by /beacon, which asks nobody who they are; "
            "`visit-` is what edgeward.js calls a visitor whom the page does not name",
        ),
    ] = ("visit-",)
    link_s: Annotated[
        int, Meta(ge=60, le=86_400, description="how long a link or PIN of `edge-agent web link` can be used, once")
    ] = 600
    visit_s: Annotated[int, Meta(ge=60, le=86_400, description="silence after which a visitor must come in again")] = (
        1_200
    )

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])

    @property
    def address(self) -> str:
        """Where people find it."""
        return self.url or f"{'https' if self.cert else 'http'}://{self.listen}"
