"""Words of strangers, as they may be shown: nothing that a terminal obeys or hides, and no line that they begin.

Topics, payload fields, names and reasons come from outside. Control characters (among them ESC, which begins what a
terminal takes as a command), characters that turn the direction of writing, and those that take no room are replaced.
Source: Unicode Technical Report 36, section 3.
"""

import json
import unicodedata

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of Unicode that are not shown."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def is_shown(char: str) -> bool:
    """Whether a character is one that can be seen, or a space."""
    return char == "\t" or char.isprintable() or unicodedata.category(char) not in HIDDEN


def line(text: str) -> str:
    """The text as one line, however many it was."""
    return text if text.isprintable() else "".join(char if is_shown(char) else REPLACEMENT for char in text)


def block(text: str) -> str:
    """The text with its line ends; what put words of strangers into it must have made each of them a `line`."""
    return "\n".join(line(one) for one in text.split("\n"))


def counted(number: int, noun: str) -> str:
    """A number of things: `1 profile`, `2 profiles`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def document(text: str) -> str:
    r"""A JSON document with what is not shown as `\u` escapes: it says the same."""
    whole = (char if char == "\n" or is_shown(char) else json.dumps(char)[1:-1] for char in text)
    return text if text.isprintable() else "".join(whole)
