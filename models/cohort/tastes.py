"""What people like: topics of items, and how people mix them, by kind of person.

Topics by latent Dirichlet allocation (Blei, Ng and Jordan 2003), fitted by scikit-learn on who touched what. A new
person's mixture is drawn from a Dirichlet distribution whose parameters are moments over everybody of a kind, so no
person's own mixture is kept.
"""

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.cohort.people import People
from models.errors import BuildUnavailable

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
ITERATIONS = 15
CONCENTRATION = (0.5, 50.0)
"""Between these lies the sum of the Dirichlet parameters: moments of few people say anything."""


class Tastes(Struct, frozen=True, kw_only=True):
    """Topics and mixtures."""

    topics: F64
    """(topics, items), rows sum to 1."""
    mixture: F64
    """(kinds, topics): Dirichlet parameters, > 0."""


def touched(people: People) -> Any:
    """Who touched what: scipy.sparse (people, items) of ones.

    Raises:
        BuildUnavailable: scikit-learn is not installed.
    """
    try:
        from scipy.sparse import csr_matrix
    except ImportError as error:
        raise missing() from error
    ends = np.cumsum([0, *(len(own) for own in people.items)])
    columns = np.concatenate([*people.items, np.zeros(0, np.int64)])
    return csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(people.users), len(people.catalogue)))


def missing() -> BuildUnavailable:
    """What to raise where scikit-learn is not installed."""
    return BuildUnavailable(
        "synthetic cohorts need scikit-learn", hint="pip install 'edgeward[cohort]' (devices never need it)"
    )


def fit(people: People, kind: I64, kinds: int, topics: int, k_min: int, seed: int) -> tuple[Tastes, F64]:
    """Learn topics and mixtures.

    Args:
        kind: (people,) each one's kind.
        k_min: items that fewer people touched share what they have equally.
    Returns:
        The tastes, and everybody's own mixture (people, topics), for fitting the rest; it is not kept.
    Raises:
        BuildUnavailable: scikit-learn is not installed.
    """
    try:
        from sklearn.decomposition import LatentDirichletAllocation
    except ImportError as error:
        raise missing() from error
    matrix = touched(people)
    model = LatentDirichletAllocation(
        n_components=topics,
        doc_topic_prior=0.1,
        topic_word_prior=0.1,
        max_iter=ITERATIONS,
        learning_method="batch",
        random_state=seed,
    )
    own = np.asarray(model.fit_transform(matrix), np.float64)
    found = np.asarray(model.components_, np.float64)
    found /= found.sum(axis=1, keepdims=True)
    rare = np.asarray((matrix > 0).sum(axis=0)).reshape(-1) < k_min
    if rare.any():
        found[:, rare] = found[:, rare].mean(axis=1, keepdims=True)
    mixture = np.stack([dirichlet(own[kind == one]) for one in range(kinds)])
    return Tastes(topics=found, mixture=mixture), own


def dirichlet(mixtures: F64) -> F64:
    """Parameters with the mean of `mixtures` (n, topics) and the median of what their variances say of the sum.

    Source: Ronning 1989, "Maximum likelihood estimation of Dirichlet distributions", for the moments.
    """
    mean = np.clip(mixtures.mean(axis=0), 1e-4, None)
    mean /= mean.sum()
    variance = mixtures.var(axis=0)
    told = variance > 1e-9
    said = mean[told] * (1.0 - mean[told]) / variance[told] - 1.0
    total = float(np.median(said)) if len(said) else CONCENTRATION[1]
    return np.asarray(mean * np.clip(total, *CONCENTRATION), np.float64)
