"""Structs of msgspec as tables: key, type, default, meaning. What reads a document is what writes its reference."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any, cast

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec import inspect as kinds

from tools.site.commands import cell

NAMES = {
    kinds.StrType: "text",
    kinds.IntType: "integer",
    kinds.FloatType: "number",
    kinds.BoolType: "true or false",
    kinds.BytesType: "bytes",
    kinds.NoneType: "none",
    kinds.AnyType: "anything",
    kinds.DateType: "date",
}
LISTS = (kinds.ListType, kinds.VarTupleType, kinds.SetType, kinds.FrozenSetType)
LIMITS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def tables(root: type[Struct], title: str, *, level: int = 2) -> list[str]:
    """A struct and every one that it holds, each once, in the order in which they are met.

    Args:
        root: where to begin.
        title: what `root` is called.
        level: of the headings.
    Returns:
        Lines of Markdown.
    """
    lines: list[str] = []
    for path, kind in _met(root, title):
        lines += [f"{'#' * level} {path}", ""]
        if kind.__doc__ and not kind.__doc__.startswith(f"{kind.__name__}("):
            lines += [" ".join(kind.__doc__.split()), ""]
        lines += [*_table(kind), ""]
    return lines


def _met(root: type[Struct], title: str) -> Iterator[tuple[str, type[Struct]]]:
    seen: set[type[Struct]] = set()
    waiting = [(title, root)]
    while waiting:
        path, kind = waiting.pop(0)
        if kind in seen:
            continue
        seen.add(kind)
        yield path, kind
        below: list[tuple[str, type[Struct]]] = []
        for field in _fields(kind):
            inner = list(_structs(field.type))
            for one in inner:
                tag = one.__struct_config__.tag
                place = field.encode_name if path == title else f"{path}.{field.encode_name}"
                below.append((f"{place}, kind {tag}" if len(inner) > 1 and tag else place, one))
        waiting = below + waiting


def _fields(kind: type[Struct]) -> tuple[kinds.Field, ...]:
    return cast("kinds.StructType", kinds.type_info(kind)).fields


def _structs(told: kinds.Type) -> Iterator[type[Struct]]:
    match told:
        case kinds.StructType():
            yield told.cls
        case kinds.Metadata():
            yield from _structs(told.type)
        case kinds.UnionType():
            for one in told.types:
                yield from _structs(one)
        case kinds.DictType():
            yield from _structs(told.value_type)
        case kinds.TupleType():
            for one in told.item_types:
                yield from _structs(one)
        case kinds.ListType() | kinds.VarTupleType() | kinds.SetType() | kinds.FrozenSetType():
            yield from _structs(told.item_type)


def _table(kind: type[Struct]) -> Iterable[str]:
    rows = []
    config = kind.__struct_config__
    if config.tag_field:
        rows.append(f"| `{config.tag_field}` | `{config.tag}` | required | |")
    spoken = _spoken(kind)
    for field in _fields(kind):
        meaning = cell(_meaning(field.type) or spoken.get(field.name, ""))
        rows.append(f"| `{field.encode_name}` | {cell(_called(field.type))} | {cell(_default(field))} | {meaning} |")
    return ["| key | type | default | meaning |", "|---|---|---|---|", *rows]


def _called(told: kinds.Type) -> str:
    match told:
        case kinds.Metadata():
            return _called(told.type)
        case kinds.StructType():
            tag = told.cls.__struct_config__.tag
            return f"table `{tag}`" if tag else "table"
        case kinds.LiteralType():
            return ", ".join(f"`{value}`" if value != "" else "empty" for value in told.values)
        case kinds.UnionType():
            return " or ".join(dict.fromkeys(_called(one) for one in told.types))
        case kinds.DictType():
            return f"table of {_called(told.key_type)} → {_called(told.value_type)}"
        case kinds.TupleType():
            return " and ".join(_called(one) for one in told.item_types)
        case kinds.ListType() | kinds.VarTupleType() | kinds.SetType() | kinds.FrozenSetType():
            return f"list of {_called(told.item_type)}"
    return NAMES.get(type(told), type(told).__name__) + _bounds(told)


def _bounds(told: kinds.Type) -> str:
    limits = [f"{sign} {getattr(told, name):,}" for name, sign in LIMITS if getattr(told, name, None) is not None]
    return f" {', '.join(limits)}" if limits else ""


def _default(field: kinds.Field) -> str:
    default = field.default
    if default is NODEFAULT and field.default_factory is not NODEFAULT:
        default = field.default_factory()
    if default is NODEFAULT:
        return "required" if field.required else ""
    plain = msgspec.to_builtins(default)
    if plain is None or plain in ("", [], {}, ()):
        return ""
    return f"`{json.dumps(plain, ensure_ascii=False)}`"


def _meaning(told: kinds.Type) -> str:
    if isinstance(told, kinds.Metadata):
        extra: dict[str, Any] = told.extra_json_schema or {}
        return str(extra.get("description", "")) or _meaning(told.type)
    return ""


@cache
def _spoken(kind: type[Struct]) -> dict[str, str]:
    """Field → the string that stands under it in the source."""
    source = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    (body,) = [node.body for node in ast.walk(source) if isinstance(node, ast.ClassDef) and node.name == kind.__name__]
    told: dict[str, str] = {}
    for before, after in pairwise(body):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            told[before.target.id] = str(after.value.value)
    return told
