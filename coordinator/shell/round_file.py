"""`round.toml`: what `edge-coordinator train --config` is asked for, section by section.

`SECTIONS` says which key of which section is which field of `Request`; types, bounds and defaults are the field's own,
so a new option takes a field there and an entry here.
"""

import math
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from coordinator.errors import RoundFileInvalid
from coordinator.shell.request import Request
from firmware_configs import strict


def _same(names: str) -> dict[str, str]:
    return {name: name for name in names.split()}


SECTIONS: dict[str, dict[str, str]] = {
    "round": _same(
        "bundle rounds unlearn minimum_reports wanted over_selection retries back_off_s spread_s join_s deadline_s"
        " wait_s seed keep_reports deploy rollout"
    ),
    "eligibility": _same("where classes examples_min"),
    "strategy": {"name": "strategy", **_same("options prox_mu layers")},
    "asynchronous": {"enabled": "asynchronous", **_same("buffer staleness")},
    "device": _same("epochs lr clip_norm"),
    "privacy": _same("epsilon_max delta accountant clip_quantile clip_lr count_noise noise noise_by rate population"),
    "compression": _same("top_k random_k"),
    "secret_sum": {"enabled": "secret_sum", "bits": "secret_bits", **_same("vanish collude grace_s")},
    "robust": _same("rule hostile_share"),
}
"""Section → key in it → field of `Request`."""


def read(path: Path) -> dict[str, Any]:
    """What the file asks for: field of `Request` → value, only those that are written there.

    Raises:
        RoundFileInvalid: no such file, no TOML, an unknown section or key (with its path and the nearest known one),
            or a value out of its bounds.
    """
    found = parse(strict.read_text(path, RoundFileInvalid), str(path))
    if found.get("rollout"):  # as the file says it, from where the file is
        found["rollout"] = str(path.parent / found["rollout"])
    return found


def parse(text: str, path: str) -> dict[str, Any]:
    """The same of a text.

    Args:
        path: names the text in errors.
    """
    document = strict.read_toml(text, path, RoundFileInvalid)
    whole = strict.convert(document, _kind(), path, RoundFileInvalid)
    found = {
        field: getattr(getattr(whole, section), key)
        for section, keys in SECTIONS.items()
        for key, field in keys.items()
        if key in document.get(section, {})
    }
    _refuse_endless(found, path)
    return found


def place_of(field: str) -> str:
    """Where the file has a field of `Request`, such as `round.wanted`."""
    return next(f"{section}.{key}" for section, keys in SECTIONS.items() for key, name in keys.items() if name == field)


def request_of(given: Mapping[str, Any]) -> Request:
    """The request.

    Args:
        given: field → value; what is missing is as `Request` says.
    Raises:
        RoundFileInvalid: no bundle is named, or a value is out of its bounds.
    """
    if not given.get("bundle"):
        raise RoundFileInvalid("no bundle is named", hint="name it: edge-coordinator train BUNDLE, or [round] bundle")
    _refuse_endless(given, "train")
    return strict.convert(dict(given), Request, "train", RoundFileInvalid)


def _refuse_endless(given: Mapping[str, Any], path: str) -> None:
    """Refuse `inf`, which lies above every bound that is only a least one."""
    for field, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise RoundFileInvalid(f"{path}: {place_of(field)}: {value} is not finite", hint="write a number")


def _kind() -> type[Struct]:
    """The file's type: a struct of structs, made from `SECTIONS` and `Request`."""
    hints = typing.get_type_hints(Request, include_extras=True)
    defaults = {field.name: field.default for field in msgspec.structs.fields(Request)}
    made: list[Any] = []
    for section, keys in SECTIONS.items():
        fields = [(key, hints[name], _or_empty(defaults[name])) for key, name in keys.items()]
        kind = msgspec.defstruct(section, fields, kw_only=True, frozen=True, forbid_unknown_fields=True)
        made.append((section, kind, msgspec.field(default_factory=kind)))
    return msgspec.defstruct("RoundFile", made, kw_only=True, frozen=True, forbid_unknown_fields=True)


def _or_empty(default: Any) -> Any:
    return "" if default is msgspec.NODEFAULT else default
