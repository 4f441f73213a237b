"""Experiments: designs that can be built, arms that differ, layers whose experiments do not overlap."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from firmware_configs import designs
from firmware_configs.consistency.fault import Fault, unknown
from firmware_configs.profile import Experiment, Placement, Profile

DAY_S = 86_400.0
REWARD = "reward"
ROUNDING = 1e-9


def experiment_faults(experiment: Experiment, place: Placement, where: str) -> Iterator[Fault]:
    """What contradicts in one placement's experiment."""
    if bool(experiment.arms) == bool(experiment.factors):
        yield Fault(where, "an experiment has either arms or factors", "write one of the two")
        return
    wrong = list(_design(experiment, where))
    yield from wrong
    if wrong:
        return
    made = designs.arms(experiment)
    names = [arm.name for arm in made]
    if len(names) < 2:
        yield Fault(f"{where}.arms", "there is one arm only", "write at least two")
    if len(set(names)) != len(names):
        yield Fault(f"{where}.arms", "arms share a name", "give each arm its own name")
    if experiment.control:
        yield from unknown(f"{where}.control", "arm", [experiment.control], names)
    items = [candidate.item for candidate in place.candidate]
    for arm in made:
        if arm.items is not None:
            yield from unknown(f"{where}: arm {arm.name}.items", "fixed candidate", arm.items, items)
            if not arm.items:
                yield Fault(f"{where}: arm {arm.name}.items", "no candidate is left", "name some, or leave it out")
    yield from _measures(experiment, where)
    yield from _times(experiment, where)


def _design(experiment: Experiment, where: str) -> Iterator[Fault]:
    factors = {factor.name: factor for factor in experiment.factors}
    if len(factors) != len(experiment.factors):
        yield Fault(f"{where}.factors", "factors share a name", "give each factor its own name")
    if experiment.generators and not experiment.factors:
        yield Fault(f"{where}.generators", "generators without factors", "write factors, or leave generators out")
        return
    runs = 1
    for factor in experiment.factors:
        runs *= len(factor.levels)
        names = [level.name for level in factor.levels]
        if len(set(names)) != len(names):
            yield Fault(f"{where}.factors", f"levels of `{factor.name}` share a name", "give each its own name")
    yield from _contradicting_levels(experiment, where)
    yield from _generators(experiment, where)
    runs >>= len(experiment.generators)
    if runs > designs.ARMS_MAX:
        fix = "a fraction of them by `generators`, or fewer levels"
        yield Fault(f"{where}.factors", f"{runs} arms, at most {designs.ARMS_MAX} can be had", fix)


def _contradicting_levels(experiment: Experiment, where: str) -> Iterator[Fault]:
    owners: dict[str, str] = {}
    for factor in experiment.factors:
        own = {name for level in factor.levels for name in designs.TREATMENT if getattr(level, name) is not None}
        for name in sorted(own):
            if name in owners:
                what = f"`{owners[name]}` and `{factor.name}` both set `{name}`"
                yield Fault(f"{where}.factors", what, "let one factor set it")
            owners[name] = factor.name


def _generators(experiment: Experiment, where: str) -> Iterator[Fault]:
    two_level = {factor.name for factor in experiment.factors if len(factor.levels) == 2}
    made: set[str] = set()
    parsed = [designs.generated(text) for text in experiment.generators]
    set_by_one = {one[0] for one in parsed if one is not None}
    for text, one in zip(experiment.generators, parsed, strict=True):
        if one is None:
            yield Fault(f"{where}.generators", f"`{text}` is no generator", "write it like `d = a*b*c`")
            continue
        name, word = one
        yield from unknown(f"{where}.generators", "two-level factor", sorted({name} | word), two_level)
        if name in made or word & set_by_one:
            fix = "set each factor once, by factors that vary freely"
            yield Fault(f"{where}.generators", f"`{text}` is set by what is itself set", fix)
        made.add(name)
    if not made or len(made) != len(experiment.generators):
        return
    if (shortest := designs.resolution(experiment)) < 3:
        what = f"the fraction has resolution {shortest}: main effects cannot be told apart"
        yield Fault(f"{where}.generators", what, "multiply more factors, or drop a generator")


def _measures(experiment: Experiment, where: str) -> Iterator[Fault]:
    for name, times in Counter(metric.name for metric in experiment.metric).items():
        if times > 1:
            yield Fault(f"{where}.metric", f"`{name}` stands {times} times", "measure each metric once")
    if not any(metric.role == "goal" for metric in experiment.metric):
        yield Fault(f"{where}.metric", "nothing is to get better", 'give one metric role = "goal"')
    for n, metric in enumerate(experiment.metric):
        if metric.upper <= metric.lower:
            yield Fault(f"{where}.metric[{n}]", "`upper` is not above `lower`", "bound the metric from both sides")


def _times(experiment: Experiment, where: str) -> Iterator[Fault]:
    for name in ("starts", "ends"):
        text = getattr(experiment, name)
        if text and instant_ms(text) is None:
            yield Fault(f"{where}.{name}", f"`{text}` is no time", "write it like 2026-11-30T06:00Z")
    starts, ends = instant_ms(experiment.starts), instant_ms(experiment.ends)
    if starts is not None and ends is not None and ends <= starts:
        yield Fault(f"{where}.ends", "it ends before it starts", "swap them")


def layer_faults(profile: Profile) -> Iterator[Fault]:
    """Experiments that would meet in a person though their layer says they do not, or that nobody keeps long enough."""
    found = [
        (f"placement[{n}].experiment", place.experiment, place.name)
        for n, place in enumerate(profile.placement)
        if place.experiment is not None
    ]
    for name, times in Counter(one.name for _, one, _ in found).items():
        if times > 1:
            yield Fault("placement.experiment", f"`{name}` stands {times} times", "give each experiment its own name")
    for name, times in Counter(layer.name for layer in profile.experiments.layer).items():
        if times > 1:
            yield Fault("experiments.layer", f"`{name}` stands {times} times", "give each layer its own name")
    holdouts = {layer.name: layer.holdout for layer in profile.experiments.layer}
    longest = max((one.days for one in profile.retention.values()), default=0.0)
    taken: dict[str, list[tuple[float, float, str]]] = {}
    for where, one, place in found:
        if one.layer:
            yield from unknown(f"{where}.layer", "[[experiments.layer]]", [one.layer], holdouts)
        end = one.position + one.share
        if end > 1.0 - holdouts.get(one.layer, 0.0) + ROUNDING:
            fix = "position + share may reach 1 - the layer's holdout"
            yield Fault(f"{where}.share", f"it ends at {end:g} of its layer", fix)
        for start, stop, other in taken.get(one.layer or one.name, []):
            if one.position < stop - ROUNDING and start < end - ROUNDING:
                what = f"it overlaps with `{other}` in layer `{one.layer}`"
                yield Fault(f"{where}.position", what, "move one of them, or make it smaller")
        taken.setdefault(one.layer or one.name, []).append((one.position, end, one.name))
        if one.window_s > longest * DAY_S:
            what = f"people are measured for {one.window_s / DAY_S:g} days, and nothing is kept longer than {longest:g}"
            yield Fault(f"{where}.window_s", what, "measure for a shorter time")
        yield from _known_metrics(profile, one, place, where)


def _known_metrics(profile: Profile, experiment: Experiment, place: str, where: str) -> Iterator[Fault]:
    declared = [str(metric.name) for metric in profile.metric if place in metric.placements]
    yield from unknown(
        f"{where}.metric",
        f"metric of placement `{place}`",
        [one.name for one in experiment.metric],
        [REWARD, *declared],
    )


def instant_ms(text: str) -> int | None:
    """Unix ms of an instant as the language writes it; None when it is empty or no time."""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1_000) if text else None
    except ValueError:
        return None
