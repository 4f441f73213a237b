"""What a tree reads of the values that it is given."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from firmware_configs.cel.cost import ROOTS
from firmware_configs.cel.tree import Node


def free_names(tree: Node) -> frozenset[str]:
    """The names that it reads, without those that its macros bind."""
    return frozenset(_free(tree, frozenset()))


def read_under(tree: Node, root: str) -> frozenset[str]:
    """The names read directly under `root`, such as `light` for `fields.light` and root `fields`."""
    found = set()
    for node in tree.walk():
        of = node.parts[0] if node.parts else node
        if of.kind == "name" and of.value == root:
            if node.kind == "select":
                found.add(node.value)
            elif node.kind == "index" and node.parts[1].kind == "const" and isinstance(node.parts[1].value, str):
                found.add(node.parts[1].value)
    return frozenset(found)


def handing(tree: Node) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What is handed to the library: it copies all that it is given, and most is not asked for."""
    whole, under = set(free_names(tree)), {}
    for root in ROOTS & whole:
        if reads := _only_selected(tree, root):
            whole.remove(root)
            under[root] = tuple(sorted(reads))
    names, roots = tuple(sorted(whole)), tuple(sorted(under.items()))

    def handed(values: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: values[name] for name in names if name in values}
        for root, below in roots:
            if (within := values.get(root)) is not None:
                given[root] = {name: within[name] for name in below if name in within}
        return given

    return handed


def macro_depth(node: Node) -> int:
    """How many macro calls lie inside each other."""
    below = max((macro_depth(part) for part in node.parts), default=0)
    return below + (node.kind == "macro")


def _only_selected(tree: Node, root: str) -> set[str]:
    """The names read under `root`; empty when it is also read in another way."""
    found, uses = set(), 0
    for node in tree.walk():
        uses += node.kind == "name" and node.value == root
        if node.kind == "select" and node.parts[0].kind == "name" and node.parts[0].value == root:
            found.add(node.value)
            uses -= 1
    return found if uses == 0 else set()


def _free(node: Node, bound: frozenset[str]) -> Iterator[str]:
    if node.kind == "name" and node.value not in bound:
        yield node.value
    if node.kind == "macro":
        yield from _free(node.parts[0], bound)
        bound |= {node.value[1]}
    for part in node.parts[1:] if node.kind == "macro" else node.parts:
        yield from _free(part, bound)
