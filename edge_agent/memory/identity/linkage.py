"""How likely two subjects are one person: a log-likelihood ratio over levels of agreement.

Each evidence of a pair falls into a level; a level weighs log(m / u), m and u being its probabilities when the two are
one person and when they are two (Fellegi and Sunter 1969, "A Theory for Record Linkage"). Weights add up as if evidence
were independent (naive Bayes); what cannot be compared adds nothing. m, u and the share of pairs that are one person
are adapted by expectation maximisation over the counts of patterns (Winkler 1988), with what the profile declares as
Dirichlet prior, and with pairs that logins have decided as labels (Nigam et al. 2000).
"""

import math
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from edge_agent.memory.identity.sightings import Pair, Seen
from firmware_configs.profile import Evidence

STRENGTH = 300.0
"""Pairs that the declared probabilities count for, beside those that are here."""
ROUNDS_MAX = 24
"""Rounds of expectation maximisation at most."""
SETTLED = 1e-4
"""Change of every probability below which it has converged."""
WEIGHT_MAX = 4.0
"""Largest weight of one level: no single evidence is certain."""

Pattern = tuple[int, ...]
"""Level of each evidence in the order of the profile; -1: it could not be compared."""


class Chances(Struct, array_like=True):
    """One evidence, learned.

    Attributes:
        same, different: probability of each level when it is one person, and when it is two.
    """

    same: list[float]
    different: list[float]


class Learned(Struct, array_like=True):
    """What was adapted on this device."""

    prior: float
    chances: dict[str, Chances]


class Tally(Struct):
    """How often a pattern occurs: among pairs that nothing decides, and among those that logins decide."""

    open: int = 0
    same: int = 0
    different: int = 0


DEFAULTS: dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]] = {
    # (edges, same, different), from households of tests/benchmarks/households.py, of other seeds than the measured ones
    "same-value": ((0.6, 0.75, 0.9), (0.02, 0.08, 0.5, 0.4), (0.35, 0.3, 0.2, 0.15)),
    "hand-over": ((0.06, 0.12, 0.2), (0.18, 0.12, 0.27, 0.43), (0.5, 0.35, 0.12, 0.03)),
    "turns": ((0.93, 0.97, 0.995), (0.04, 0.08, 0.24, 0.64), (0.3, 0.37, 0.15, 0.18)),
    "rhythm": ((0.6, 0.75, 0.85), (0.18, 0.2, 0.22, 0.4), (0.18, 0.28, 0.27, 0.27)),
    "habit": ((0.2, 0.4, 0.6), (0.07, 0.2, 0.3, 0.43), (0.4, 0.3, 0.17, 0.13)),
}
"""What a kind of evidence says where the profile does not."""


def log_odds(probability: float) -> float:
    """0 for a half, negative below."""
    return math.log(probability / (1.0 - probability))


def probability(odds: float) -> float:
    """The probability of log-odds."""
    return 1.0 / (1.0 + math.exp(-max(-500.0, min(500.0, odds))))


class Linkage:
    """Scores pairs by what is declared, and by what was learned since.

    Attributes:
        prior: share of the pairs that are one person.
    """

    def __init__(self, evidence: Sequence[Evidence], prior: float, half_life_ms: float) -> None:
        self._evidence, self._half_life_ms = evidence, half_life_ms
        self._declared: dict[str, Chances] = {}
        self._edges: dict[str, tuple[float, ...]] = {}
        for one in evidence:
            edges, same, different = DEFAULTS[one.kind]
            if one.edges:
                edges, same, different = one.edges, one.same, one.different
            self._edges[one.name], self._declared[one.name] = edges, Chances(list(same), list(different))
        self._declared_prior = prior
        self._take(Learned(prior, dict(self._declared)))

    def _take(self, learned: Learned) -> None:
        self.prior, self._now = learned.prior, learned.chances
        self._weights = {name: _weights(chances) for name, chances in learned.chances.items()}

    def pack(self) -> bytes:
        """The stored form of what was learned."""
        return msgspec.msgpack.encode(Learned(self.prior, self._now))

    def restore(self, packed: bytes) -> None:
        """Take it up again; evidence whose levels the profile has changed since begins anew.

        Raises:
            msgspec.MsgspecError: it is none.
        """
        found = msgspec.msgpack.decode(packed, type=Learned)
        levels = [p for one in found.chances.values() for p in (*one.same, *one.different)]
        if not 0.0 < found.prior < 1.0 or not all(0.0 < p <= 1.0 for p in levels):
            raise msgspec.ValidationError("what was learned are no probabilities")
        fits = {
            name: found.chances[name]
            for name, own in self._declared.items()
            if name in found.chances
            and len(found.chances[name].same) == len(found.chances[name].different) == len(own.same)
        }
        self._take(Learned(found.prior, {**self._declared, **fits}))

    # ---- scores ---------------------------------------------------------------------------------------------

    def rates(self, pair: Pair, one: Seen, other: Seen, now_ms: int) -> dict[str, float]:
        """Evidence → how much it says that the two are one person, in [0, 1]; without what has too few chances yet.

        same-value: of the stretches in which both had a value, how many they had the same. hand-over: of the beginnings
        of the rarer one, how many followed the other. turns: of the stretches in which the rarer one went on, how many
        the other one did nothing in. rhythm, habit: the cosine of their tables.
        """
        found: dict[str, float] = {}
        fade = float(0.5 ** (max(0, now_ms - pair.counted_ms) / self._half_life_ms))
        for evidence in self._evidence:
            name = evidence.name
            agreed, differed = pair.agreed.get(name, 0.0) * fade, pair.differed.get(name, 0.0) * fade
            if evidence.kind == "same-value":
                chances = agreed + differed
            else:
                chances = min(self._faded(one, name, now_ms), self._faded(other, name, now_ms))
            if chances < evidence.least:
                continue
            match evidence.kind:
                case "same-value":
                    found[name] = agreed / chances
                case "hand-over":
                    found[name] = min(1.0, agreed / chances)
                case "turns":
                    found[name] = max(0.0, 1.0 - differed / chances)
                case _:
                    found[name] = _cosine(one.tables[name], other.tables[name])
        return found

    def _faded(self, seen: Seen, name: str, now_ms: int) -> float:
        age_ms = max(0, now_ms - seen.counted_ms)
        return seen.chances.get(name, 0.0) * float(0.5 ** (age_ms / self._half_life_ms))

    def levels(self, rates: Mapping[str, float]) -> dict[str, int]:
        """Evidence → level, from 0."""
        return {name: sum(rate >= edge for edge in self._edges[name]) for name, rate in rates.items()}

    def odds(self, levels: Mapping[str, int]) -> float:
        """Log-odds that a pair with these levels is one person."""
        return log_odds(self.prior) + sum(self._weights[name][level] for name, level in levels.items())

    def weight(self, name: str, level: int) -> float:
        """What a level adds to the log-odds."""
        return self._weights[name][level]

    def pattern(self, levels: Mapping[str, int]) -> Pattern:
        """The levels as a pattern."""
        return tuple(levels.get(one.name, -1) for one in self._evidence)

    # ---- learning -------------------------------------------------------------------------------------------

    def learn(self, tallies: Mapping[Pattern, Tally]) -> None:
        """Adapt to the pairs that are here; in the order of the patterns, so that the sums come out the same."""
        found = sorted(tallies.items())
        for _ in range(ROUNDS_MAX):
            before = Learned(self.prior, self._now)
            self._take(self._maximised(found))
            if _change(before, Learned(self.prior, self._now)) < SETTLED:
                return

    def _maximised(self, found: Sequence[tuple[Pattern, Tally]]) -> Learned:
        """One round: who is one person by the present probabilities, and then the probabilities by that."""
        names = [one.name for one in self._evidence]
        same = {name: [STRENGTH * p for p in self._declared[name].same] for name in names}
        different = {name: [STRENGTH * p for p in self._declared[name].different] for name in names}
        one_person, all_pairs = STRENGTH * self._declared_prior, STRENGTH
        for pattern, tally in found:
            levels = {name: level for name, level in zip(names, pattern, strict=True) if level >= 0}
            sure = probability(self.odds(levels))
            yes, no = sure * tally.open + tally.same, (1.0 - sure) * tally.open + tally.different
            one_person += sure * tally.open
            all_pairs += tally.open
            for name, level in levels.items():
                same[name][level] += yes
                different[name][level] += no
        chances = {name: Chances(_shares(same[name]), _shares(different[name])) for name in names}
        return Learned(one_person / all_pairs, chances)


def _weights(chances: Chances) -> list[float]:
    """log(m / u) of each level; a higher level never weighs less than a lower one (pool adjacent violators)."""
    raw = [
        max(-WEIGHT_MAX, min(WEIGHT_MAX, math.log(m / u))) for m, u in zip(chances.same, chances.different, strict=True)
    ]
    pools: list[tuple[float, float, int]] = []
    for weight, m, u in zip(raw, chances.same, chances.different, strict=True):
        pools.append((weight, m + u, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (low, low_mass, low_width), (high, high_mass, high_width) = pools[-2:]
            mass = low_mass + high_mass
            pools[-2:] = [((low * low_mass + high * high_mass) / mass, mass, low_width + high_width)]
    return [weight for weight, _, width in pools for _ in range(width)]


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts)
    return [count / total for count in counts]


def _change(before: Learned, after: Learned) -> float:
    steps = [abs(before.prior - after.prior)]
    for name, now in after.chances.items():
        was = before.chances[name]
        steps += [abs(a - b) for a, b in zip(now.same + now.different, was.same + was.different, strict=True)]
    return max(steps)


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    norm = math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
    return min(1.0, product / norm) if norm > 0.0 else 0.0
