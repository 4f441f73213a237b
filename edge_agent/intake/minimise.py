"""Keep only what the profile lists, transformed, for purposes with consent now. The rest exists nowhere after.

`Minimised` is made only here; profile, features and decisions take nothing else.
"""

import hashlib
import hmac
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from edge_agent.errors import FieldInvalid, FieldMissing
from edge_agent.intake.event import Fields, at_path
from edge_agent.limits import DAY_MS, ID_MAX, TEXT_MAX
from firmware_configs.profile import (
    Bucket,
    CoarseLocation,
    KeyedHash,
    Round,
    Source,
    SourceField,
    Transform,
    TruncateTime,
)

Value = float | str | bool
Change = Callable[[Any, int], Value]
"""(value, event time in unix ms) → value."""

_MAKER: Final = object()
_SPAN_S = {"minute": 60, "hour": 3_600, "day": 86_400}


class Minimised:
    """An event after minimisation. Only this module makes one, so a type checker finds a way round it."""

    __slots__ = ("event_id", "event_time_ms", "fields", "source", "subject")

    def __init__(
        self,
        maker: object,
        *,
        source: str,
        event_id: str,
        event_time_ms: int,
        subject: str,
        fields: dict[str, Value],
    ) -> None:
        if maker is not _MAKER:
            raise TypeError("Minimised is made by edge_agent.intake.minimise only")
        self.source = source
        self.event_id = event_id
        self.event_time_ms = event_time_ms
        self.subject = subject
        self.fields = fields


class Minimiser:
    """One source's fields, compiled."""

    def __init__(self, source: Source, consent_needed: Collection[str], secret: bytes) -> None:
        """Compile.

        Args:
            source: the profile's source.
            consent_needed: names of purposes that need consent.
            secret: the device's own key for keyed hashes, 32 bytes; it never leaves.
        """
        self._source = source.name
        self._subject = tuple(source.subject.split(".")) if source.subject else ()
        self._fields = [_Kept(field, frozenset(consent_needed), secret) for field in source.field]

    def subject(self, found: Fields, household: str) -> str:
        """Whom the event is about.

        Raises:
            FieldInvalid: the path holds something that names nobody.
        """
        if not self._subject:
            return household
        value = at_path(found, self._subject)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not 0 < len(value) <= ID_MAX or "\x00" in value:
            raise FieldInvalid(
                f"`{'.'.join(self._subject)}` names no subject",
                hint=f"send text of at most {ID_MAX} characters there",
            )
        return value

    def minimise(
        self, found: Fields, event_id: str, event_time_ms: int, subject: str, granted: Collection[str]
    ) -> Minimised | None:
        """The minimised event; None when consent leaves nothing of it.

        Args:
            found: the decoded payload; it is not kept.
            granted: purposes that the subject has consented to, now.

        Raises:
            FieldMissing: a required field is not there.
            FieldInvalid: a field has the wrong type.
        """
        fields: dict[str, Value] = {}
        allowed = False
        for kept in self._fields:
            if kept.needs and kept.needs.isdisjoint(granted):
                continue
            allowed = True
            value = found.get(kept.key) if kept.key is not None else at_path(found, kept.path)
            if value is None:
                if kept.required:
                    raise FieldMissing(f"field `{kept.name}` is missing", hint="send it, or make it optional")
                continue
            # Most fields are plain finite numbers, to which nothing is done (infinity and NaN are not equal here).
            plain = kept.is_plain and type(value) is float and value - value == 0.0
            fields[kept.name] = value if plain else kept.take(value, event_time_ms)
        if not allowed or not fields:
            return None
        return Minimised(
            _MAKER,
            source=self._source,
            event_id=event_id,
            event_time_ms=event_time_ms,
            subject=subject,
            fields=fields,
        )

    def context(self, given: Mapping[str, Any], granted: Collection[str], now_ms: int) -> dict[str, Value]:
        """A request's own fields, by name, under the same rules; what does not fit is left out."""
        fields: dict[str, Value] = {}
        for kept in self._fields:
            if kept.name in given and not (kept.needs and kept.needs.isdisjoint(granted)):
                fields[kept.name] = kept.take(given[kept.name], now_ms)
        return fields


def again(source: str, event_id: str, event_time_ms: int, subject: str, fields: Mapping[str, Value]) -> Minimised:
    """An event from the journal, which holds only minimised events."""
    return Minimised(
        _MAKER,
        source=source,
        event_id=event_id,
        event_time_ms=event_time_ms,
        subject=subject,
        fields=dict(fields),
    )


class _Kept:
    """One field, compiled: where it lies, what it must be, what is done to it."""

    __slots__ = ("_change", "_type", "is_plain", "key", "name", "needs", "path", "required")

    def __init__(self, field: SourceField, consent_needed: frozenset[str], secret: bytes) -> None:
        self.name = field.name
        self.path = tuple((field.path or field.name).split("."))
        self.key = self.path[0] if len(self.path) == 1 else None
        self.required = field.required
        free = any(p not in consent_needed for p in field.purposes)
        self.needs = frozenset() if free else frozenset(field.purposes)
        self._type = field.type
        self._change = _change(field.transform, secret)
        self.is_plain = self._type == "number" and self._change is None

    def take(self, value: Any, event_time_ms: int) -> Value:
        kind = self._type
        if kind == "number":
            if type(value) is not float and (type(value) is not int):
                raise self._invalid("a number")
            try:
                value = float(value)
            except OverflowError:  # an integer of 400 digits is JSON, too
                value = math.inf
            if not math.isfinite(value):
                raise self._invalid("a finite number")
        elif kind == "text":
            if type(value) is int:
                value = str(value)
            if type(value) is not str or len(value) > TEXT_MAX:
                raise self._invalid(f"text of at most {TEXT_MAX} characters")
        elif type(value) is not bool:
            raise self._invalid("true or false")
        kept: Value = value
        if self._change is None:
            return kept
        try:
            return self._change(kept, event_time_ms)
        except OverflowError:  # 1e308 has no multiple of 0.1 beside it
            raise self._invalid("a number that its transform can take") from None

    def _invalid(self, expected: str) -> FieldInvalid:
        # The value itself is never named: it may be exactly what must not be kept.
        return FieldInvalid(f"field `{self.name}` is not {expected}", hint=f"send {expected}")


def _change(transform: Transform, secret: bytes) -> Change | None:
    match transform:
        case Bucket(edges=edges):
            return lambda value, _now: _bucket(value, edges)
        case Round(step=step):
            return lambda value, _now: round(value / step) * step
        case TruncateTime(to=to):
            span = _SPAN_S[to]
            return lambda value, _now: _truncate(value, span)
        case KeyedHash(rotate_days=days):
            return lambda value, now: _keyed(value, now, days, secret)
        case CoarseLocation(cell_degrees=cell):
            return lambda value, _now: math.floor(value / cell) * cell
        case _:
            return None


def _bucket(value: float, edges: Sequence[float]) -> float:
    """The lower edge of the value's bucket; below the first edge, the first edge."""
    lower = edges[0]
    for edge in edges:
        if value < edge:
            break
        lower = edge
    return lower


def _truncate(value: Value, span_s: int) -> Value:
    """Unix seconds, or ISO 8601 text cut to its day, hour or minute."""
    if isinstance(value, str):
        return value[: {60: 16, 3_600: 13, 86_400: 10}[span_s]]
    return float(math.floor(float(value) / span_s) * span_s)


def _keyed(value: Value, now_ms: int, rotate_days: int, secret: bytes) -> str:
    epoch = now_ms // (rotate_days * DAY_MS) if rotate_days else 0
    return hmac.new(secret, f"{epoch}\x00{value}".encode(), hashlib.sha256).hexdigest()[:32]
