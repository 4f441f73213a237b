"""The agent's settings: one file, every option with its default and a sentence; read once, in one place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from edge_agent import credentials
from edge_agent.errors import SettingsMalformed
from edge_agent.web_settings import Web
from firmware_configs import strict

PREFIX = "EDGE_AGENT_"
OF_THE_COMMAND = frozenset({"EDGE_AGENT_SETTINGS", "EDGE_AGENT_REASON", "EDGE_AGENT_TOKEN"})
"""Variables that stand for an option of the command, not for a setting."""
PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
ENCRYPTED = {"mqtts", "wss"}
WEBSOCKETS = {"ws", "wss"}
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
"""Hosts to which something may be said in the clear."""


class Broker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events come from and decisions go."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(mqtts?://[^/\s]+|wss?://[^/\s]+(/\S*)?)$",
            description="`mqtt://host:port`, `mqtts://host:port` for TLS, `ws://host:port/path`, `wss://host:port/path`",
        ),
    ] = "mqtt://127.0.0.1:1883"
    protocol: Annotated[
        Literal["auto", "5", "3.1.1"],
        Meta(description="version of MQTT; auto: 5, and 3.1.1 where the broker does not speak 5"),
    ] = "auto"
    user: Annotated[str, Meta(max_length=256, description="user name; empty: none")] = ""
    password_file: Annotated[
        str, Meta(description="file whose first line is the password; it is never on a command line")
    ] = ""
    ca: Annotated[str, Meta(description="certificate (PEM) to trust instead of the system's; with TLS only")] = ""
    cert: Annotated[str, Meta(description="client certificate (PEM); with TLS only")] = ""
    key: Annotated[str, Meta(description="private key (PEM, without passphrase) of `cert`")] = ""
    visit_cert: Annotated[
        str,
        Meta(
            description="client certificate of commands and of the device's page, which say people's word; at a "
            "fleet's own broker they cannot come with the agent's; `edge-agent enrol` gets one; empty: `cert`"
        ),
    ] = ""
    visit_key: Annotated[str, Meta(description="private key (PEM, without passphrase) of `visit_cert`")] = ""
    keepalive_s: Annotated[int, Meta(ge=5, le=3_600, description="silence after which the link is probed")] = 30
    session_expiry_s: Annotated[
        int, Meta(ge=60, le=4_294_967_294, description="how long the broker keeps our messages while we are away")
    ] = 604_800
    receive_maximum: Annotated[
        int,
        Meta(ge=1, le=65_535, description="unacknowledged messages that the broker may have open with us; MQTT 5 only"),
    ] = 256
    cloudevents: Annotated[
        bool, Meta(description="decisions carry CloudEvents attributes as user properties; MQTT 5 only")
    ] = False

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        where = urlsplit(self.url)
        return where.port or PORTS[where.scheme]

    @property
    def tls(self) -> bool:
        return urlsplit(self.url).scheme in ENCRYPTED

    @property
    def websockets(self) -> bool:
        return urlsplit(self.url).scheme in WEBSOCKETS

    @property
    def path(self) -> str:
        """Where MQTT lives on a web server, with its query."""
        where = urlsplit(self.url)
        return (where.path or "/mqtt") + (f"?{where.query}" if where.query else "")


class Registry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where signed bundles come from."""

    url: Annotated[str, Meta(description="HTTPS address; empty: what the coordinator's `desired` says")] = ""
    ca: Annotated[str, Meta(description="certificate (PEM) that the registry's TLS must chain to")] = ""
    trusted_root: Annotated[
        str, Meta(description="TUF root.json that this device trusts from the start; empty: no updates")
    ] = ""
    rate_max_kib: Annotated[
        int, Meta(ge=0, le=1_048_576, description="KiB a second that a download may take; 0: as fast as the line is")
    ] = 0
    attested: Annotated[
        bool,
        Meta(description="refuse bundles of which nothing is attested; a wrong attestation is refused in any case"),
    ] = False
    approvals: Annotated[
        int,
        Meta(ge=0, le=16, description="people who must have signed a profile that widens what is collected; 0: nobody"),
    ] = 2


class SuperLink(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where federated rounds happen."""

    address: Annotated[str, Meta(description="`host:port`; empty: what the round's offer says")] = ""
    ca: Annotated[str, Meta(description="certificate (PEM) that the SuperLink's TLS must chain to")] = ""
    node_key: Annotated[
        str, Meta(description="private key (PEM, EC P-384) of this node; empty: takes part in no round")
    ] = ""


class Smtp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The relay for channels of kind email; read by the sender process only."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(smtps?://[^/\s]+)?$",
            description="`smtp://host:587` with STARTTLS, `smtps://host:465`; empty: no e-mail leaves",
        ),
    ] = ""
    plain: Annotated[
        bool, Meta(description="smtp:// without STARTTLS; only to a relay on this machine (127.0.0.1, ::1, localhost)")
    ] = False
    ca: Annotated[str, Meta(description="certificate (PEM) to trust instead of the system's")] = ""
    user: Annotated[str, Meta(max_length=256, description="user name; empty: none")] = ""
    password_file: Annotated[
        str, Meta(description="file whose first line is the password; readable by its owner only (mode 0600)")
    ] = ""
    sender: Annotated[str, Meta(max_length=320, description="address in From")] = ""
    addresses_file: Annotated[
        str, Meta(description='TOML file, mode 0600, of whom to write to: lines such as `ann = "ann@example.org"`')
    ] = ""
    timeout_s: Annotated[float, Meta(ge=1.0, le=120.0, description="longest silence of the relay")] = 20.0


class Push(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gateway for channels with the adapter http; read by the sender process only."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/\s]+(/\S*)?)?$",
            description="messages are POSTed here as JSON; http:// only to this machine; empty: no push leaves",
        ),
    ] = ""
    ca: Annotated[str, Meta(description="certificate (PEM) to trust instead of the system's")] = ""
    token_file: Annotated[
        str, Meta(description="file, mode 0600, whose first line is sent as `Authorization: Bearer`; empty: none")
    ] = ""
    addresses_file: Annotated[
        str, Meta(description='TOML file, mode 0600, of whom to reach: lines such as `ann = "device token"`')
    ] = ""
    timeout_s: Annotated[float, Meta(ge=1.0, le=120.0, description="longest silence of the gateway")] = 20.0


class LogSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the agent says on stderr; never personal data."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="the least that is said")] = "info"
    format: Annotated[Literal["text", "json"], Meta(description="text for people, json for collectors")] = "text"


class Telemetry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the agent measures of itself; `edge-agent prometheus` and `edge-agent traces` ask for it."""

    timings: Annotated[
        bool, Meta(description="time each stage; false: no histograms of stages, and nothing is traced")
    ] = True
    trace_share: Annotated[
        float,
        Meta(
            ge=0.0,
            le=1.0,
            description="share of the messages without a `traceparent` that are traced; those with one go by its "
            "sampled flag",
        ),
    ] = 0.0


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole agent.toml."""

    device: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
            description="this device's id: part of its topics, its MQTT client id",
        ),
    ]
    state_dir: Annotated[
        str, Meta(min_length=1, description="folder for the database, bundles and trust; only for this agent")
    ]
    profile: Annotated[str, Meta(description="device profile (TOML); `run --profile` overrides it")] = ""
    home_key: Annotated[
        str,
        Meta(
            pattern=r"^(.{16,})?$",
            description="a secret that all devices of a home share, and no other home: a person is in the same arm of "
            "an experiment on all of them; empty: each device draws by itself",
        ),
    ] = ""
    coordinator: Annotated[
        str,
        Meta(
            pattern=r"^([0-9a-f]{16})?$",
            description="id of the coordinator whose `desired` is taken, as `edge-agent enrol` writes it; empty: the "
            "first one that is believed",
        ),
    ] = ""
    timezone: Annotated[
        str, Meta(description="IANA name such as `Europe/Paris` for hours and weekdays; empty: the system's")
    ] = ""
    home_assistant: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*)?$",
            description="discovery prefix of Home Assistant, as `homeassistant`: status and actuators are announced "
            "there, and status is JSON; empty: they are not",
        ),
    ] = ""
    broker: Broker = Broker()
    registry: Registry = Registry()
    superlink: SuperLink = SuperLink()
    smtp: Smtp = Smtp()
    push: Push = Push()
    log: LogSettings = LogSettings()
    telemetry: Telemetry = Telemetry()
    web: Web = Web()
    bundles: Annotated[
        tuple[str, ...],
        Meta(max_length=20, description="bundle files to start with until the registry says otherwise"),
    ] = ()
    allow_unsigned: Annotated[
        bool, Meta(description="take `bundles` without a registry's signature; for development only")
    ] = False
    batch_max: Annotated[
        int, Meta(ge=1, le=4_096, description="messages in one transaction at most; bounds memory and latency")
    ] = 256
    salvage: Annotated[
        bool,
        Meta(
            description="after a damaged database was found, start with all that can be read of it; "
            "false: stay down until a person has looked"
        ),
    ] = True
    readings: Annotated[
        str,
        Meta(
            description="JSON file that the host keeps about power and network, such as "
            '`{"mains": true, "battery": 0.8, "metered": false, "load": 0.2}`; it counts instead of what the system '
            "says, for 15 minutes after it was written; empty: there is none"
        ),
    ] = ""
    memory_hours_max: Annotated[
        float,
        Meta(
            ge=0.0,
            le=8_760.0,
            description="hours after which the process replaces itself, so that nothing that the profile drops stays "
            "in its memory for longer (a tenth more where it is busy); a second or two without decisions; 0: never",
        ),
    ] = 24.0
    core_dumps: Annotated[
        bool, Meta(description="let the system write this process's memory to a file when it crashes; for development")
    ] = False
    record: Annotated[bool, Meta(description="keep minimised events for `edge-agent replay`")] = False


def load(path: Path, environment: Mapping[str, str]) -> Settings:
    """Read agent.toml; `EDGE_AGENT_BROKER__URL=…` overrides `broker.url`, and so on.

    Paths in the file are relative to the file.

    Raises:
        SettingsMalformed: with the place, the nearest right key, and the fix.
    """
    document = strict.read_toml(strict.read_text(path, SettingsMalformed), str(path), SettingsMalformed)
    if document.get("web") == "off":  # all that it could be, once
        del document["web"]
    for name, value in sorted(environment.items()):
        if name.startswith(PREFIX) and name not in OF_THE_COMMAND:
            _override(document, name, value)
    settings = strict.convert(document, Settings, str(path), SettingsMalformed)
    try:
        rooted = _rooted(settings, path.absolute().parent, environment)
    except ValueError as error:
        hint = "`credential:NAME`, as LoadCredential= of the unit names it"
        raise SettingsMalformed(f"{path}: {error}", hint=hint) from None
    return _checked(rooted, path)


def _override(document: dict[str, Any], name: str, value: str) -> None:
    steps = name.removeprefix(PREFIX).lower().split("__")
    kind: Any = Settings
    for step in steps[:-1]:
        kind = _type_of(kind, step, name)
        inner = document.setdefault(step, {})
        if not isinstance(inner, dict):
            raise SettingsMalformed(f"{name}: `{step}` is no table in the file", hint="write it as a table there")
        document = inner
    last = _type_of(kind, steps[-1], name)
    try:
        document[steps[-1]] = msgspec.to_builtins(msgspec.convert(_listed(value, last), last, strict=False))
    except msgspec.ValidationError as error:
        raise SettingsMalformed(f"{name}: {error}", hint="set it to a value of the expected kind") from None


def _type_of(kind: Any, step: str, name: str) -> Any:
    for field in msgspec.structs.fields(kind) if isinstance(kind, type) and issubclass(kind, Struct) else ():
        if field.encode_name == step:
            return field.type
    raise SettingsMalformed(
        f"{name}: there is no such setting", hint="`__` separates tables, as in EDGE_AGENT_BROKER__URL"
    )


def _listed(value: str, kind: Any) -> str | list[str]:
    """A list comes as `a:b`, as PATH does."""
    info = msgspec.inspect.type_info(kind)
    if isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    many = isinstance(info, msgspec.inspect.VarTupleType)
    return [part for part in value.split(":") if part] if many else value


def _rooted(settings: Settings, folder: Path, environment: Mapping[str, str]) -> Settings:
    """The same settings with every path absolute, those of systemd's credentials among them."""

    def at(text: str) -> str:
        if (kept := credentials.place(text, environment)) is not None:
            return str(kept)
        return str(folder / Path(text).expanduser()) if text else ""

    replace = msgspec.structs.replace
    broker, registry, link = settings.broker, settings.registry, settings.superlink
    smtp, push, web = settings.smtp, settings.push, settings.web
    return replace(
        settings,
        state_dir=at(settings.state_dir),
        profile=at(settings.profile),
        bundles=tuple(at(path) for path in settings.bundles),
        readings=at(settings.readings),
        broker=replace(
            broker,
            password_file=at(broker.password_file),
            ca=at(broker.ca),
            cert=at(broker.cert),
            key=at(broker.key),
            visit_cert=at(broker.visit_cert),
            visit_key=at(broker.visit_key),
        ),
        registry=replace(registry, ca=at(registry.ca), trusted_root=at(registry.trusted_root)),
        superlink=replace(link, ca=at(link.ca), node_key=at(link.node_key)),
        smtp=replace(
            smtp,
            ca=at(smtp.ca),
            password_file=at(smtp.password_file),
            addresses_file=at(smtp.addresses_file),
        ),
        push=replace(push, ca=at(push.ca), token_file=at(push.token_file), addresses_file=at(push.addresses_file)),
        web=replace(web, cert=at(web.cert), key=at(web.key)),
    )


def _checked(settings: Settings, path: Path) -> Settings:
    """The same settings, once their parts agree and the files they name are there."""
    broker = settings.broker
    try:
        known = bool(broker.host and broker.port)
    except ValueError:
        known = False
    if not known:
        raise SettingsMalformed(
            f"{path}: broker.url: `{broker.url}` names no host and port", hint="write mqtt://HOST:PORT"
        )
    if not broker.tls and (broker.ca or broker.cert or broker.key or broker.visit_cert or broker.visit_key):
        raise SettingsMalformed(
            f"{path}: broker: certificates are given, but {broker.url} is not encrypted",
            hint="write mqtts:// or wss:// in broker.url, or remove ca, cert and key",
        )
    if bool(broker.cert) != bool(broker.key):
        raise SettingsMalformed(f"{path}: broker: `cert` and `key` go together", hint="give both or none")
    if bool(broker.visit_cert) != bool(broker.visit_key):
        raise SettingsMalformed(f"{path}: broker: `visit_cert` and `visit_key` go together", hint="give both or none")
    _check_senders(settings, path)
    _check_web(settings.web, path)
    named = {
        "broker.password_file": broker.password_file,
        "broker.ca": broker.ca,
        "broker.cert": broker.cert,
        "broker.key": broker.key,
        "broker.visit_cert": broker.visit_cert,
        "broker.visit_key": broker.visit_key,
        "registry.ca": settings.registry.ca,
        "registry.trusted_root": settings.registry.trusted_root,
        "superlink.ca": settings.superlink.ca,
        "superlink.node_key": settings.superlink.node_key,
        "smtp.ca": settings.smtp.ca,
        "smtp.password_file": settings.smtp.password_file,
        "smtp.addresses_file": settings.smtp.addresses_file,
        "push.ca": settings.push.ca,
        "push.token_file": settings.push.token_file,
        "push.addresses_file": settings.push.addresses_file,
        "web.cert": settings.web.cert,
        "web.key": settings.web.key,
    }
    for place, file in named.items():
        if file and not Path(file).is_file():
            hint = "correct the path"
            if Path(file).parent == credentials.UNIT_FOLDER:
                hint = "run it in the unit, with LoadCredential= or LoadCredentialEncrypted= of this name"
            raise SettingsMalformed(f"{path}: {place}: there is no file {file}", hint=hint)
    return settings


def _check_senders(settings: Settings, path: Path) -> None:
    """Whether what sends messages has all that it needs, and says nothing in the clear.

    Raises:
        SettingsMalformed: with the fix.
    """
    smtp, push = settings.smtp, settings.push
    for name, url, own in (("smtp", smtp.url, smtp.plain), ("push", push.url, push.url.startswith("http:"))):
        try:
            where = urlsplit(url)
            known = not url or (bool(where.hostname) and where.port != 0)
        except ValueError:
            known = False
        if not known:
            raise SettingsMalformed(f"{path}: {name}.url: `{url}` names no host and port", hint="correct it")
        if own and where.hostname not in LOOPBACK:
            raise SettingsMalformed(
                f"{path}: {name}: messages to {where.hostname} would travel in the clear",
                hint="use STARTTLS, smtps:// or https://; plain text goes to this machine only",
            )
    if smtp.url and not (smtp.sender and smtp.addresses_file):
        raise SettingsMalformed(f"{path}: smtp: `sender` and `addresses_file` are needed", hint="give both")
    if push.url and not push.addresses_file:
        raise SettingsMalformed(f"{path}: push: `addresses_file` is needed", hint="name the file")


def _check_web(web: Web, path: Path) -> None:
    """Whether the page would be readable on its way, or cannot be reached.

    Raises:
        SettingsMalformed: with the fix.
    """
    if not 0 <= web.port <= 65_535:
        raise SettingsMalformed(f"{path}: web.listen: there is no port {web.port}", hint="one of 1 to 65535")
    if bool(web.cert) != bool(web.key):
        raise SettingsMalformed(f"{path}: web: `cert` and `key` go together", hint="give both or none")
    if web.host not in LOOPBACK and not web.cert and not web.plain:
        raise SettingsMalformed(
            f"{path}: web: pages for {web.host} would travel in the clear",
            hint="give `cert` and `key`; or listen on 127.0.0.1; or say `plain = true` where a proxy adds TLS",
        )
