"""Vectors laid out in a plane: UMAP where it is installed, else principal components."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deadlib.embeddings.wells import Indices, Single
from deadlib.errors import InputError
from deadlib.retrieval import nearest_neighbours

Method = Literal["auto", "umap", "pca"]
Floats = NDArray[np.float64]

NEIGHBOURS = 20
MIN_DIST = 0.0
SEED = 42
"""As published for CellDeathPred."""
FEWEST = 5
MOST = 20_000
"""More rows are drawn from: a page shows no more, and UMAP takes a minute for half as many."""
INSTALL = "pip install 'deadlib[umap]'"


@dataclass(frozen=True)
class Setting:
    """How maps are made. `auto` is UMAP where it is installed."""

    method: Method = "auto"
    neighbours: int = NEIGHBOURS
    min_dist: float = MIN_DIST
    seed: int = SEED

    @property
    def resolved(self) -> Literal["umap", "pca"]:
        """Raises InputError where UMAP was asked for and is not installed."""
        there = find_spec("umap") is not None
        if self.method == "umap" and not there:
            raise InputError(f"UMAP is not installed: {INSTALL}, or take --map pca")
        if self.method == "auto":
            return "umap" if there else "pca"
        return self.method

    @property
    def sentence(self) -> str:
        if self.resolved == "pca":
            lacking = f" UMAP is not installed; {INSTALL} adds it." if self.method == "auto" else ""
            return f"The map shows the first two principal components of the vectors.{lacking}"
        return (
            f"The map is UMAP with {self.neighbours} neighbours, min_dist {self.min_dist:g}, "
            f"Euclidean distance of vectors of length 1 and seed {self.seed}."
        )


@dataclass(frozen=True)
class Map:
    """Where rows (M,) of the table lie, positions (M, 2)."""

    rows: Indices
    positions: Floats


def lay_out(vectors: Single, setting: Setting) -> Map | None:
    """A map of vectors (N, D) of length 1, at most 20,000 of them; None of fewer than 5.

    The same vectors and the same seed give the same map on the same machine.
    """
    rows = np.arange(len(vectors))
    if len(rows) < FEWEST:
        return None
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(setting.seed).choice(rows, MOST, replace=False))
    lay = _umap if setting.resolved == "umap" else _components
    return Map(rows, lay(vectors[rows], setting))


def _components(vectors: Single, setting: Setting) -> Floats:
    from sklearn.decomposition import PCA

    width = min(2, vectors.shape[1])
    found = PCA(width, svd_solver="covariance_eigh").fit_transform(vectors.astype(np.float64))
    return np.pad(found, ((0, 0), (0, 2 - width)))


def _umap(vectors: Single, setting: Setting) -> Floats:
    import umap

    count = min(setting.neighbours, len(vectors) - 1)
    # Exact neighbours by matrix products take a third of the time of UMAP's own search for them.
    found = nearest_neighbours(vectors, vectors, count)
    distances = np.sqrt(np.maximum(2 - 2 * found.similarity, 0))
    with warnings.catch_warnings():
        # that new vectors cannot be laid into the map, and that a seed means one thread
        warnings.filterwarnings("ignore", module="umap")
        warnings.filterwarnings("ignore", module="sklearn")
        laid = umap.UMAP(
            n_components=2,
            n_neighbors=count,
            min_dist=setting.min_dist,
            metric="euclidean",
            random_state=setting.seed,
            n_jobs=1,
            precomputed_knn=(found.place, distances),
            force_approximation_algorithm=True,
        ).fit_transform(vectors)
    return np.asarray(laid, np.float64)
