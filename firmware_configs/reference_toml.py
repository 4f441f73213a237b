"""Writes a commented TOML document with every option of a struct, generated so that it cannot lie."""

import textwrap
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import NODEFAULT, Meta, Struct

WIDTH = 110


def document(kind: type[Struct], heading: str, example: Struct) -> str:
    """Every option of `kind`, explained, with the values of `example`.

    Args:
        heading: the first comment.
        example: a complete instance in which every table occurs at least once.
    Returns:
        TOML that loads to `example`.
    """
    lines = [*_comment(heading), ""]
    plain = msgspec.json.decode(msgspec.json.encode(example), type=dict[str, Any])
    lines += _table(kind, plain, "")
    return "\n".join(lines).rstrip() + "\n"


def _table(kind: type[Struct], values: dict[str, Any], path: str) -> Iterator[str]:
    """One table: its own keys first, then the tables in it."""
    fields = list(_fields(kind))
    inner = []
    for name, hint, default, meta in fields:
        struct = _struct_of(hint, values.get(name))
        if struct is not None and isinstance(values.get(name), dict | list) and values.get(name) not in ({}, []):
            inner.append((name, struct, meta))
            continue
        yield from _key(name, hint, default, meta, values.get(name))
    for name, struct, meta in inner:
        yield from _inner(name, struct, meta, values[name], path)


def _inner(name: str, struct: type[Struct], meta: str, value: Any, path: str) -> Iterator[str]:
    place = f"{path}.{name}" if path else name
    if isinstance(value, list):
        for one in value:
            yield ""
            yield from _comment(meta or _doc(_tagged(struct, one)))
            yield f"[[{place}]]"
            yield from _table(_tagged(struct, one), one, place)
        return
    members = [value] if _is_struct_value(struct, value) else None
    if members is None:
        # A mapping of names to tables: each is written inline.
        yield ""
        yield from _comment(meta or _doc(struct))
        yield f"[{place}]"
        for key, one in value.items():
            yield f"{_quoted(key)} = {_inline(one)}"
        return
    yield ""
    yield from _comment(meta or _doc(_tagged(struct, value)))
    yield f"[{place}]"
    yield from _table(_tagged(struct, value), value, place)


def _key(name: str, hint: Any, default: Any, meta: str, value: Any) -> Iterator[str]:
    kinds = _alternatives(hint)
    notes = []
    if name != "kind" and kinds:
        notes.append(" | ".join(kinds))
    notes.append("required" if default is NODEFAULT else f"default {_inline(default)}")
    yield from _comment(f"{meta}{'.' if meta and not meta.endswith('.') else ''} ({'; '.join(notes)})".strip())
    if value is None:
        yield f"# {name} ="
    else:
        yield f"{name} = {_inline(value)}"


def _fields(kind: type[Struct]) -> Iterator[tuple[str, Any, Any, str]]:
    """(key in the document, type, default, meaning)."""
    config = kind.__struct_config__
    if config.tag_field is not None:
        yield str(config.tag_field), None, NODEFAULT, _doc(kind)
    for field in msgspec.structs.fields(kind):
        default = field.default
        if default is NODEFAULT and field.default_factory is not NODEFAULT:
            default = field.default_factory()
        if default is not NODEFAULT:
            default = msgspec.to_builtins(default)
        yield field.encode_name, field.type, default, _meaning(field.type)


def _meaning(hint: Any) -> str:
    for extra in reversed(getattr(hint, "__metadata__", ())):
        if isinstance(extra, Meta) and extra.description:
            return extra.description
    return ""


def _members(hint: Any) -> list[Any]:
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _members(typing.get_args(hint)[0])
    if origin in {typing.Union, types.UnionType}:
        return [m for member in typing.get_args(hint) for m in _members(member)]
    return [hint]


def _struct_of(hint: Any, value: Any) -> type[Struct] | None:
    """The struct type inside a hint, if it holds tables."""
    for member in _members(hint) if hint is not None else []:
        if isinstance(member, type) and issubclass(member, Struct):
            return _tagged_union(hint, value)
        for argument in typing.get_args(member):
            for inner in _members(argument):
                if isinstance(inner, type) and issubclass(inner, Struct):
                    return inner
    return None


def _tagged_union(hint: Any, value: Any) -> type[Struct] | None:
    structs = [m for m in _members(hint) if isinstance(m, type) and issubclass(m, Struct)]
    for struct in structs:
        config = struct.__struct_config__
        if isinstance(value, dict) and config.tag_field and value.get(config.tag_field) == config.tag:
            return struct
    return structs[0] if structs else None


def _tagged(struct: type[Struct], _value: Any) -> type[Struct]:
    return struct


def _is_struct_value(struct: type[Struct], value: dict[str, Any]) -> bool:
    keys = {name for name, *_ in _fields(struct)}
    return bool(keys & set(value)) or not value


def _alternatives(hint: Any) -> list[str]:
    """What may stand there, when it is one of a few words or tables."""
    found: list[str] = []
    for member in _members(hint) if hint is not None else []:
        if typing.get_origin(member) is typing.Literal:
            found += [str(word) for word in typing.get_args(member)]
        elif isinstance(member, type) and issubclass(member, Struct) and member.__struct_config__.tag is not None:
            found.append(f'kind = "{member.__struct_config__.tag}"')
    return found


def _doc(struct: type[Struct]) -> str:
    return (struct.__doc__ or "").strip().splitlines()[0] if struct.__doc__ else ""


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.splitlines():
        yield from (f"# {line}" for line in textwrap.wrap(paragraph, WIDTH) or [""])


def _inline(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_quoted(k)} = {_inline(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_inline(one) for one in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def _quoted(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() else f'"{key}"'
