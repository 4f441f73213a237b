"""What a regular expression can cost: the library compiles it again at each evaluation.

Matching is linear (finite automata, no backtracking); compiling is not: repetitions are written out, and a class of
all letters is hundreds of ranges each time.
"""

import re

from firmware_configs.errors import ExpressionError

REPEATED_MAX = 1_000
_US = {"w": 700.0, "p": 700.0, "d": 40.0, "s": 10.0, ".": 20.0, "^": 20.0, "i": 10.0, "x": 1.0}
"""Microseconds to compile one: a word or Unicode class, a digit, a space, any, a negated class, a letter of either
case, a plain one."""
_REPEAT = re.compile(r"\{(\d{0,9})(,?)(\d{0,9})\}")


def pattern_cost(pattern: str) -> tuple[float, float]:
    """(microseconds to compile it, its states).

    Raises:
        ExpressionError: a repetition that nobody needs.
    """
    ignores_case = re.search(r"\(\?[a-zA-Z]*i", pattern) is not None
    at, sums = 0, [[0.0, 0.0]]
    last = [0.0, 0.0]
    while at < len(pattern):
        char = pattern[at]
        if char == "(":
            sums.append([0.0, 0.0])
            last = [0.0, 0.0]
        elif char == ")" and len(sums) > 1:
            last = sums.pop()
            _add(sums[-1], last, 1.0)
        elif (found := _REPEAT.match(pattern, at)) is not None:
            times = _times(found)
            _add(sums[-1], last, times - 1)
            last = [last[0] * times, last[1] * times]
            at = found.end() - 1
        elif char == "[":
            at, us = _class(pattern, at, ignores_case)
            last = [us, 1.0]
            _add(sums[-1], last, 1.0)
        elif char not in "*+?|":
            us = _US[char] if char == "." else _US["i" if ignores_case else "x"]
            if char == "\\" and at + 1 < len(pattern):
                at += 1
                us = max(us, _escape(pattern[at]))
                at = _named(pattern, at)
            last = [us, 4.0 if us > 100.0 else 1.0]
            _add(sums[-1], last, 1.0)
        at += 1
    us, states = (sum(level[n] for level in sums) for n in (0, 1))
    return 20.0 + us, 1.0 + states


def unescaped(written: str) -> str:
    """A pattern as CEL reads a text with backslashes.

    Raises:
        ExpressionError: characters by number, which could hide anything.
    """
    if re.search(r"(?<!\\)(?:\\\\)*\\[^\\\"'`nrt]", written):
        raise ExpressionError(
            "a pattern writes characters by number", hint="write them as they are, or a raw text: r'\\d+'"
        )
    return re.sub(r"\\(.)", r"\1", written, flags=re.DOTALL)


def _add(level: list[float], cost: list[float], times: float) -> None:
    level[0] += cost[0] * times
    level[1] += cost[1] * times


def _times(found: re.Match[str]) -> int:
    times = max(int(found[1] or 0), int(found[3] or 0), 1)
    if times > REPEATED_MAX:
        raise ExpressionError(f"a pattern repeats something {times:,} times", hint=f"at most {REPEATED_MAX:,}")
    return times


def _named(pattern: str, at: int) -> int:
    """Where `\\pL`, `\\p{Greek}` or `\\x{e9}` ends, whose first letter stands at `at`."""
    if pattern[at] not in "pPxuU":
        return at
    if pattern.startswith("{", at + 1):
        end = pattern.find("}", at)
        return at if end < 0 else end
    return at + 1 if pattern[at] in "pP" else at


def _escape(char: str) -> float:
    return {"w": _US["w"], "p": _US["p"], "d": _US["d"], "s": _US["s"], "b": _US["w"]}.get(char.lower(), 0.0)


def _class(pattern: str, at: int, ignores_case: bool) -> tuple[int, float]:
    """(where the class ends, microseconds)."""
    us, depth = _US["^"], 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern):
            at += 1
            us += _escape(pattern[at]) + _US["x"]
        elif char == "[":
            depth += 1
            if pattern.startswith("[:", at):
                us += _US["w"]
        elif char == "]":
            depth -= 1
            if depth <= 0:
                return at, us
        else:
            us += _US["i" if ignores_case else "x"]
        at += 1
    return at, us
