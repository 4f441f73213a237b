"""From a TOML document to a struct, with errors that a person can act on.

An error names the file, the place (`source[0].field[2].nmae`), what was expected and found, and the fix;
for an unknown key also the nearest right one.
"""

import re
import tomllib
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from firmware_configs.errors import EdgeError
from firmware_configs.shown import line

T = TypeVar("T", bound=Struct)
Refusal = Callable[..., EdgeError]

BYTES_MAX = 1_048_576

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<key>key in )?\$(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]+)`")
_MISSING = re.compile(r"Object missing required field `(?P<key>[^`]+)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def read_text(path: Path, refuse: Refusal) -> str:
    """The file's text.

    Args:
        refuse: makes the error to raise, as `refuse(what, hint=…)`.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise refuse(f"{line(str(path))}: no such file", hint=_nearby(path)) from None
    except OSError as error:
        raise refuse(f"{line(str(path))}: {error.strerror}", hint="check the path and its permissions") from None
    if len(raw) > BYTES_MAX:
        raise refuse(
            f"{line(str(path))}: {len(raw)} bytes; at most {BYTES_MAX} are read", hint="is this the right file?"
        )
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise refuse(f"{line(str(path))}: not UTF-8 at byte {error.start}", hint="save the file as UTF-8") from None


def read_toml(text: str, path: str, refuse: Refusal) -> dict[str, Any]:
    """The document as plain values; syntax errors carry line and column."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise refuse(f"{line(path)}: not TOML: {line(str(error))}", hint="mend the line that is named") from None
    except RecursionError:
        raise refuse(f"{line(path)}: nested too deeply", hint="profiles and settings need few levels") from None


def convert(document: dict[str, Any], kind: type[T], path: str, refuse: Refusal) -> T:
    """The document as `kind`.

    Raises:
        EdgeError: what `refuse` makes, for the first thing that is wrong.
    """
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        what, hint = _told(str(error), document, kind)
        raise refuse(f"{line(path)}: {line(what)}", hint=line(hint)) from None


def _told(message: str, document: dict[str, Any], kind: type[Struct]) -> tuple[str, str]:
    found = _AT.match(message)
    what, at = (found["what"], found["path"] or "") if found else (message, "")
    steps = [name or index for name, index in _STEP.findall(at)]
    value, struct = _follow(document, kind, steps)
    place = at.lstrip(".")
    if unknown := _UNKNOWN.match(what):
        key = unknown["key"]
        return _unknown_key(key, f"{place}.{key}".lstrip("."), struct)
    if missing := _MISSING.match(what):
        key = missing["key"]
        meaning = _meaning(struct, key)
        return f"{f'{place}.{key}'.lstrip('.')}: required and missing{meaning}", f"add `{key} = …`"
    shown = "" if value is _NOTHING else f" (got {_short(value)})"
    return f"{place or 'document'}: {what[0].lower()}{what[1:]}{shown}", "write a value of the expected kind"


def _unknown_key(key: str, place: str, struct: type[Struct] | None) -> tuple[str, str]:
    known = list(getattr(struct, "__struct_encode_fields__", ()))
    tag = getattr(getattr(struct, "__struct_config__", None), "tag_field", None)
    if tag:
        known.append(str(tag))
    import difflib  # only the mistaken need it

    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    listed = ", ".join(sorted(known)) or "none"
    what = f"{place}: unknown key `{key}`; expected one of: {listed}"
    return what, f"did you mean `{near[0]}`?" if near else f"remove `{key}`, or use one of the keys above"


class _Nothing:
    """The document has nothing at this place."""


_NOTHING = _Nothing()


def _follow(document: Any, kind: Any, steps: list[str]) -> tuple[Any, type[Struct] | None]:
    """The value and the struct type at the end of `steps`."""
    value, types = document, _alternatives(kind)
    for step in steps:
        types = [inner for outer in types for inner in _step_type(outer, step, value)]
        value = _step_value(value, step)
    structs = [one for one in types if isinstance(one, type) and issubclass(one, Struct)]
    return value, _tagged(structs, value)


def _step_value(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return value.get(step, _NOTHING)
    if isinstance(value, list) and step.isdigit() and int(step) < len(value):
        return value[int(step)]
    return _NOTHING


def _step_type(outer: Any, step: str, value: Any) -> list[Any]:
    if isinstance(outer, type) and issubclass(outer, Struct):
        chosen = _tagged([outer], value)
        if chosen is None:
            return []
        names = dict(zip(outer.__struct_encode_fields__, outer.__struct_fields__, strict=True))
        hints = typing.get_type_hints(outer, include_extras=False)
        return _alternatives(hints[names[step]]) if step in names else []
    arguments = [a for a in typing.get_args(outer) if a is not Ellipsis]
    return [one for argument in arguments[-1:] for one in _alternatives(argument)]


def _alternatives(kind: Any) -> list[Any]:
    """The members of a union, or the type itself; `Annotated` is looked through."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _alternatives(typing.get_args(kind)[0])
    if origin is typing.Union or type(kind).__name__ == "UnionType":
        return [one for member in typing.get_args(kind) for one in _alternatives(member)]
    return [kind]


def _tagged(structs: list[type[Struct]], value: Any) -> type[Struct] | None:
    """The struct whose tag the value carries; the only one where there is no tag."""
    for struct in structs:
        config = struct.__struct_config__
        if config.tag_field is None:
            return struct
        if isinstance(value, dict) and value.get(config.tag_field) == config.tag:
            return struct
    return structs[0] if len(structs) == 1 else None


def _meaning(struct: type[Struct] | None, key: str) -> str:
    if struct is None:
        return ""
    names = dict(zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True))
    hint = typing.get_type_hints(struct, include_extras=True).get(names.get(key, ""))
    for extra in reversed(getattr(hint, "__metadata__", ())):
        if isinstance(extra, msgspec.Meta) and extra.description:
            return f" ({extra.description})"
    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _nearby(path: Path) -> str:
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist either"
    import difflib

    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
    return f"did you mean {path.parent / near[0]}?" if near else "check the path"
