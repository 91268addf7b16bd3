"""Which examples lie next to each other in the embedding, and how often they are of one class.

Everywhere: embeddings (N, D) float, compared by the cosine of their angle; class_index (N,) int.
An embedding of length 0 has no direction, and cosine 0 with everything. Equally near examples come
in the order in which they are given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]
Indices = NDArray[np.integer]

_AT_ONCE = 2**22
"""So many cosines are held at a time."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest of a gallery for each query, nearest first."""

    place: NDArray[np.int64]
    """(Q, k), places in the gallery."""
    similarity: NDArray[np.float32]
    """(Q, k), cosines in -1 to 1, falling."""


def nearest_neighbours(
    queries: ArrayLike, gallery: ArrayLike, k: int, *, is_itself: bool = False
) -> Neighbours:
    """The k nearest of the gallery (N, D) for each query (Q, D).

    is_itself: the gallery is the queries, and none is its own neighbour. Raises ValueError for more
    neighbours than there are.
    """
    kept = directions(gallery)
    found = len(kept) - is_itself
    if not 1 <= k <= found:
        raise ValueError(f"k: {k} neighbours of {found} examples; expected 1 to {found}")
    places, cosines = [], []
    for cosine in _cosines(directions(queries), kept, is_itself):
        place = _top(cosine, k)
        places.append(place)
        cosines.append(np.take_along_axis(cosine, place, axis=1))
    return Neighbours(np.concatenate(places), np.concatenate(cosines))


def neighbour_shares(neighbours: Neighbours, gallery_class: ArrayLike, classes: int) -> Floats:
    """The share of each class among the neighbours of each query, (Q, classes), summing to 1."""
    found = np.asarray(gallery_class)[neighbours.place]
    return np.stack([(found == one).mean(axis=1) for one in range(classes)], axis=1)


def called(neighbours: Neighbours, gallery_class: ArrayLike, classes: int) -> Indices:
    """The class of most neighbours, (Q,); of several such, that of the nearest neighbour."""
    found = np.asarray(gallery_class)[neighbours.place]
    shares = neighbour_shares(neighbours, gallery_class, classes)
    is_most = np.take_along_axis(shares, found, axis=1) == shares.max(axis=1, keepdims=True)
    return np.take_along_axis(found, is_most.argmax(axis=1)[:, None], axis=1)[:, 0]


@dataclass(frozen=True)
class Retrieval:
    """How well each example finds its class among all others; NaN where its class has no other.

    All (N,) float64 in 0 to 1. With R others of its class, at ranks i = 1..R:
    """

    precision_at_1: Floats
    """Whether the nearest is of its class."""
    r_precision: Floats
    """The share of its class among the R nearest."""
    map_at_r: Floats
    """The mean over i of precision at i where the i-th is of its class, and 0 elsewhere."""

    def means(self) -> dict[str, float]:
        """The mean of each over the examples whose class has another; NaN where none has."""
        counted = ~np.isnan(self.map_at_r)
        return {
            name: float(values[counted].mean()) if counted.any() else float("nan")
            for name, values in vars(self).items()
        }


def retrieval(class_index: ArrayLike, embeddings: ArrayLike) -> Retrieval:
    """Search every example among all the others (Musgrave et al. 2020, arXiv:2003.08505).

    Takes time with the square of the number of examples, and memory in proportion to it.
    """
    classes = np.asarray(class_index)
    vectors = directions(embeddings)
    others = np.unique(classes, return_inverse=True)[1]
    others = np.bincount(others)[others] - 1 if len(classes) else others
    parts = []
    start = 0
    for cosine in _cosines(vectors, vectors, is_itself=True):
        asked = slice(start, start + len(cosine))
        start = asked.stop
        parts.append(_measured(cosine, classes, classes[asked], others[asked]))
    columns = np.concatenate(parts, axis=1) if parts else np.empty((3, 0))
    return Retrieval(*columns)


def directions(embeddings: ArrayLike) -> Floats:
    """Vectors (N, D) float32 of length 1; 0 stays 0."""
    vectors = np.asarray(embeddings, np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def _cosines(queries: Floats, gallery: Floats, is_itself: bool) -> Iterator[Floats]:
    """Some queries at a time, (q, N); below all others where a query meets itself."""
    step = max(1, _AT_ONCE // max(1, len(gallery)))
    for start in range(0, len(queries), step):
        cosine = queries[start : start + step] @ gallery.T
        if is_itself:
            asked = np.arange(len(cosine))
            cosine[asked, start + asked] = -np.inf
        yield cosine


def _top(cosine: Floats, k: int) -> NDArray[np.int64]:
    """The places of the k largest of each row, falling, equal ones as they stand."""
    if k < cosine.shape[1] // 4:
        # All that are at least the k-th largest; a stable sort of them alone breaks ties as one
        # of the whole row would.
        limit = np.partition(cosine, cosine.shape[1] - k, axis=1)[:, -k, None]
        within = cosine >= limit
        if (within.sum(axis=1) == k).all():
            place = np.nonzero(within)[1].reshape(len(cosine), k)
            order = np.argsort(-np.take_along_axis(cosine, place, axis=1), axis=1, kind="stable")
            return np.take_along_axis(place, order, axis=1)
    return np.argsort(-cosine, axis=1, kind="stable")[:, :k]


def _measured(cosine: Floats, gallery: Indices, asked: Indices, others: Indices) -> Floats:
    """The three columns of `Retrieval` for some queries, (3, q)."""
    most = int(others.max()) if len(others) else 0
    if most == 0:
        return np.full((3, len(asked)), np.nan)
    same = gallery[_top(cosine, most)] == asked[:, None]
    rank = np.arange(1, most + 1)
    counted = same & (rank <= others[:, None])
    precision = np.cumsum(counted, axis=1) / rank
    known = np.where(others > 0, others, np.nan)
    return np.stack(
        [
            np.where(others > 0, same[:, 0], np.nan),
            counted.sum(axis=1) / known,
            (precision * counted).sum(axis=1) / known,
        ]
    )
