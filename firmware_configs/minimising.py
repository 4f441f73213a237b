"""The least that a model needs: a greedy search over fields, coarseness and retention, within a stated loss.

First whole fields go, the one whose loss is least first; then each field that is left is made as coarse as it may be;
then less and less of the past is kept. Every trial is kept as evidence. Quality is asked from outside, so that the
search knows no model.

Source of the order: backward elimination, as in Kohavi and John 1997, "Wrappers for feature subset selection".
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from firmware_configs.coarseness import told
from firmware_configs.profile import Bucket, Round, Transform


class Setting(Struct, frozen=True, kw_only=True):
    """What is collected, how exactly, and how much of the past."""

    fields: dict[str, Transform]
    days: float


class Trial(Struct, frozen=True, kw_only=True):
    """One thing that was tried."""

    what: str
    quality: float
    """In the unit of the one who measures; more is better."""
    loss: float
    """Of the whole setting against the profile's own, in that unit."""
    is_taken: bool


class Found(Struct, frozen=True, kw_only=True):
    """What came out."""

    start: Setting
    least: Setting
    quality: float
    """Of the start."""
    trials: tuple[Trial, ...]


Quality = Callable[[Setting], float]


class _Search:
    def __init__(self, start: Setting, quality: Quality, loss_max: float) -> None:
        self.setting, self._quality, self._loss_max = start, quality, loss_max
        self.full = quality(start)
        self.trials: list[Trial] = []

    def measure(self, setting: Setting) -> float:
        return self._quality(setting)

    def fits(self, quality: float) -> bool:
        return self.full - quality <= self._loss_max

    def tell(self, what: str, quality: float, *, is_taken: bool) -> None:
        loss = self.full - quality
        self.trials.append(Trial(what=what, quality=quality, loss=loss, is_taken=is_taken))

    def take(self, what: str, setting: Setting) -> bool:
        """Try a setting; it becomes the one that holds, if it fits."""
        quality = self.measure(setting)
        is_taken = self.fits(quality)
        self.tell(what, quality, is_taken=is_taken)
        if is_taken:
            self.setting = setting
        return is_taken


def search(
    start: Setting,
    quality: Quality,
    loss_max: float,
    *,
    pinned: Sequence[str] = (),
    values: Mapping[str, Sequence[float]] | None = None,
    days: Sequence[float] = (),
) -> Found:
    """The least setting whose loss stays within `loss_max`.

    Args:
        start: the profile's own.
        quality: measures a setting; asked a few dozen times.
        loss_max: in the unit of the quality; what the result may lose against the start, all steps together.
        pinned: fields that something else needs as they are: rules, triggers, identity.
        values: field → some of its values; numbers are coarsened by what is seen there.
        days: retention times to try.
    """
    held = _Search(start, quality, loss_max)
    _drop(held, pinned)
    for name in list(held.setting.fields):
        if name not in pinned:
            _coarsen(held, name, sorted((values or {}).get(name, ())))
    for shorter in sorted({d for d in days if d < start.days}, reverse=True):
        if not held.take(f"keep {shorter:g} days", structs.replace(held.setting, days=shorter)):
            break
    return Found(start=start, least=held.setting, quality=held.full, trials=tuple(held.trials))


def _drop(held: _Search, pinned: Sequence[str]) -> None:
    while True:
        settings = {
            name: structs.replace(held.setting, fields={n: t for n, t in held.setting.fields.items() if n != name})
            for name in held.setting.fields
            if name not in pinned and len(held.setting.fields) > 1
        }
        if not settings:
            return
        found = {name: held.measure(setting) for name, setting in settings.items()}
        best = max(found, key=lambda name: found[name])
        for name, measured in found.items():
            held.tell(f"without {name}", measured, is_taken=name == best and held.fits(measured))
        if not held.fits(found[best]):
            return
        held.setting = settings[best]


def _coarsen(held: _Search, name: str, values: Sequence[float]) -> None:
    """From the coarsest that is thought of to the finest: the first one that fits is the coarsest that does."""
    for transform in ladder(held.setting.fields[name], values):
        fields = {**held.setting.fields, name: transform}
        if held.take(f"{name} {told(transform)}", structs.replace(held.setting, fields=fields)):
            return


def ladder(transform: Transform, values: Sequence[float]) -> list[Transform]:
    """Coarser transforms of a number, the coarsest first.

    Args:
        values: ascending, as seen.
    """
    steps: list[Transform] = []
    if len(set(values)) < 3:
        return steps
    for count in (2, 3, 4, 6, 8):
        cuts = sorted({_tidy(values[len(values) * k // count]) for k in range(1, count)})
        edges = tuple(sorted({_tidy(min(values[0], cuts[0] - 1.0)), *cuts}))
        steps.append(Bucket(edges=edges))
    if isinstance(transform, Round):
        spread = values[-1] - values[0]
        steps += [
            Round(step=transform.step * times) for times in (100, 50, 20, 10, 5, 2) if transform.step * times < spread
        ]
    return steps


def _tidy(value: float) -> float:
    """Three digits that count."""
    return float(f"{value:.3g}")
