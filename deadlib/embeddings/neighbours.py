"""Nearest wells, none of them the well itself, and the class that they call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deadlib.retrieval import nearest_neighbours

Indices = NDArray[np.intp]
Single = NDArray[np.float32]
Floats = NDArray[np.float64]

NEARER = 1e-6
"""What the nearest neighbour's vote counts more; half as much for the next, and so on: a tie goes
to the class whose nearest lies nearer, and no majority is turned."""


def nearest_elsewhere(
    queries: Single, gallery: Single, k: int, query_place: Indices, gallery_place: Indices
) -> tuple[Indices, Single]:
    """The k nearest of gallery (G, D) for each of queries (Q, D): places and cosines (Q, k).

    query_place (Q,), gallery_place (G,): what shares the place is no neighbour. Fewer than k where
    the gallery has fewer; where too much of it shares the place, a missing one has place -1 and
    cosine -inf.
    """
    most = int(np.unique(gallery_place, return_counts=True)[1].max())
    found = nearest_neighbours(queries, gallery, min(k + most, len(gallery)))
    here = gallery_place[found.place] == query_place[:, None]
    order = np.argsort(here, axis=1, kind="stable")[:, :k]
    places = np.where(here, -1, found.place)
    cosines = np.where(here, -np.inf, found.similarity)
    return (
        np.take_along_axis(places, order, axis=1).astype(np.intp),
        np.take_along_axis(cosines, order, axis=1).astype(np.float32),
    )


def votes(labels: Indices, classes: int) -> Floats:
    """The share of the neighbours that each class has, (..., K), from labels (..., k), -1 none.

    Neighbours stand nearest first. Shares sum to 1 and no two are equal but where both are 0.
    """
    weights = 1 + NEARER * 0.5 ** np.arange(labels.shape[-1])
    found = np.stack([((labels == c) * weights).sum(axis=-1) for c in range(classes)], axis=-1)
    return np.asarray(found / np.maximum(found.sum(axis=-1, keepdims=True), 1e-12))
