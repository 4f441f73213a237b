"""Templates of messages: text with `{name}` in it, and nothing else; `{{` and `}}` are braces."""

from collections.abc import Mapping

from firmware_configs.errors import ExpressionError

OWN = frozenset({"item", "items", "placement"})
"""Names that every decision has; all others are fields."""


def parts(template: str) -> list[tuple[str, str]]:
    """The template as (text, the name that follows it; empty: none).

    Raises:
        ExpressionError: a brace without its other half, or no name between the two.
    """
    found: list[tuple[str, str]] = []
    text, at = "", 0
    while at < len(template):
        char = template[at]
        if char not in "{}":
            text += char
            at += 1
        elif template[at : at + 2] in {"{{", "}}"}:
            text += char
            at += 2
        else:
            end = template.find("}", at)
            name = template[at + 1 : end]
            if char == "}" or end < 0 or not name.isidentifier():
                raise ExpressionError(
                    f"`{template[at : at + 20]}` is no place of a template",
                    hint="write {name}; a brace itself is {{ or }}",
                )
            found.append((text, name))
            text, at = "", end + 1
    return [*found, (text, "")] if text else found


def names(template: str) -> frozenset[str]:
    """The names in it.

    Raises:
        ExpressionError: as `parts`.
    """
    return frozenset(name for _, name in parts(template) if name)


def fields(template: str) -> frozenset[str]:
    """The fields in it.

    Raises:
        ExpressionError: as `parts`.
    """
    return names(template) - OWN


def rendered(template: str, values: Mapping[str, object]) -> str:
    """The text; a name that `values` has not is left out.

    Raises:
        ExpressionError: as `parts`.
    """
    return "".join(text + _short(values.get(name, "")) for text, name in parts(template))


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
