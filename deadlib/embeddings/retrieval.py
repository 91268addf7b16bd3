"""The nearest wells of each well that did not teach the network, and the class that they call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from deadlib.bootstrap import Estimate, Nested, Resampling, Statistic, estimates
from deadlib.embeddings.neighbours import nearest_elsewhere, votes
from deadlib.embeddings.wells import Floats, Indices, Wells
from deadlib.metrics import accuracy, balanced_accuracy
from deadlib.outputs import written_whole
from deadlib.predictions import METADATA_KEY
from deadlib.retrieval import retrieval as searched
from tfrecords_tools.table import PROBABILITY

SHOWN = 12
NETWORKS_OWN = ("calibration", "coverage")
"""What a table says of the network's probabilities, which those of neighbours are not."""


@dataclass(frozen=True)
class Retrieval:
    """Q wells and the nearest of the labelled wells that may be looked up.

    queries (Q,), places (Q, k) and cosines (Q, k): rows of `wells`, nearest first, place -1 where
    there are fewer; classes: the names that can be called.
    """

    wells: Wells
    queries: Indices
    places: Indices
    cosines: NDArray[np.float32]
    classes: tuple[str, ...]
    rule: str

    def shares(self, k: int) -> Floats:
        """(Q, K): the share of each class among the k nearest; the nearer class wins a tie."""
        index = {name: c for c, name in enumerate(self.classes)}
        places = self.places[:, :k]
        codes = np.array([index.get(str(name), -1) for name in self.wells.label])
        return votes(np.where(places < 0, -1, codes[places]), len(self.classes))

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Which queries (Q,) have a label that can be called."""
        return np.isin(self.wells.label[self.queries].astype(str), self.classes)

    def target(self) -> Indices:
        """The class of each judged query."""
        names = self.wells.label[self.queries][self.judged].astype(str)
        index = {name: c for c, name in enumerate(self.classes)}
        return np.array([index[name] for name in names], np.intp)

    def figures(self, k: int, resampling: Resampling) -> dict[str, Estimate]:
        """Accuracy and balanced accuracy of the call over wells; empty where no label is known."""
        if not self.judged.any():
            return {}
        target, shares = self.target(), self.shares(k)[self.judged]
        return {
            name: self._over_wells(metric(target, shares), self.judged, resampling)
            for name, metric in (("accuracy", accuracy), ("balanced_accuracy", balanced_accuracy))
        }

    def map_at_r(self, resampling: Resampling) -> Estimate:
        """Mean average precision at R of the queries, each searched among all other queries."""
        labels = self.wells.label[self.queries]
        values = np.full(len(labels), np.nan)
        known = labels != None  # noqa: E711
        codes = np.unique(labels[known].astype(str), return_inverse=True)[1]
        values[known] = searched(codes, self.wells.means[self.queries[known]]).map_at_r
        counted = ~np.isnan(values)
        if not counted.any():
            return Estimate(None, reason="no two wells of a class")

        def mean(weights: Floats) -> Floats:
            return (weights @ values[counted] / weights.sum(axis=1))[:, None]

        return self._over_wells(mean, counted, resampling, is_rate=False)

    def _over_wells(
        self,
        statistic: Statistic,
        chosen: NDArray[np.bool_],
        resampling: Resampling,
        *,
        is_rate: bool = True,
    ) -> Estimate:
        place = self.wells.place[self.queries][chosen]
        groups = np.unique(place, return_inverse=True)[1].astype(np.intp)
        behind = np.array([groups.max() + 1 if is_rate else 0])
        return estimates(statistic, Nested(groups), behind, resampling)[0]


def retrieve(wells: Wells, k: int) -> Retrieval | None:
    """Find the k nearest wells by cosine; None where no well or only one class has a label.

    Where the table has the training split and others, wells of the others are looked up among the
    training wells; else each well among all others. A well is never its own neighbour.
    """
    labelled = wells.label != None  # noqa: E711
    taught = wells.taught
    gallery, queries = np.flatnonzero(labelled), np.arange(len(wells))
    rule = "looked up among all other wells of the table"
    if (taught & labelled).any() and not taught.all():
        gallery, queries = np.flatnonzero(taught & labelled), np.flatnonzero(~taught)
        rule = "looked up among the wells that taught the network"
    names = {str(name) for name in wells.label[gallery]}
    if len(names) < 2:
        return None
    known = [name for name in wells.table.classes if name in names]
    classes = tuple([*known, *sorted(names - set(known))])
    places, cosines = nearest_elsewhere(
        wells.means[queries], wells.means[gallery], k, wells.place[queries], wells.place[gallery]
    )
    places = np.where(places < 0, -1, gallery[places])
    return Retrieval(wells, queries, places, cosines, classes, rule)


def write_calls(retrieval: Retrieval, k: int, path: Path) -> None:
    """The calls of the k nearest as a prediction table, one row per well. Raises WriteError."""
    wells, shares = retrieval.wells, retrieval.shares(k)
    told = wells.frame.iloc[retrieval.queries].reset_index(drop=True)
    told = told[[name for name in told if not _said_by_network(str(name))]]
    told["label"] = wells.label[retrieval.queries]
    if "group" not in told:
        told["group"] = wells.name[retrieval.queries]
    told["predicted"] = [retrieval.classes[c] for c in shares.argmax(axis=1)]
    for c, name in enumerate(retrieval.classes):
        told[PROBABILITY + name] = shares[:, c]
    metadata: dict[str, Any] = {
        name: value for name, value in wells.table.metadata.items() if name not in NETWORKS_OWN
    }
    metadata |= {
        "classes": list(retrieval.classes),
        "neighbours": {"k": k, "of": str(wells.table.path), "rule": retrieval.rule},
    }
    table = pa.Table.from_pandas(told, preserve_index=False)
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(metadata).encode()})
    with written_whole(path) as partial:
        pq.write_table(table, partial)


def neighbour_rows(retrieval: Retrieval, title: str) -> pd.DataFrame:
    """One line per well and neighbour: who is near whom."""
    wells, count = retrieval.wells, retrieval.places.shape[1]
    query = np.repeat(retrieval.queries, count)
    place, rank = retrieval.places.ravel(), np.tile(np.arange(1, count + 1), len(retrieval.queries))
    found = pd.DataFrame(
        {
            "table": title,
            "well": wells.name[query],
            "label": wells.label[query],
            "rank": rank,
            "neighbour": wells.name[place],
            "neighbour_label": wells.label[place],
            "neighbour_batch": wells.batch[place],
            "cosine": retrieval.cosines.ravel(),
        }
    )
    return found[place >= 0]


def shown(retrieval: Retrieval, count: int, k: int, seed: int, asked: Sequence[str]) -> Indices:
    """Which queries stand on the page, places in 0..Q-1: those asked for by name, else by class in
    turn, half of them called wrongly (the clearest first) and the rest drawn."""
    names = retrieval.wells.name[retrieval.queries]
    if asked:
        return np.flatnonzero(np.isin(names.astype(str), list(asked)))
    order = np.random.default_rng(seed).permutation(len(names))
    if not retrieval.judged.any():
        return order[:count]
    shares = retrieval.shares(k)
    judged = np.flatnonzero(retrieval.judged)
    own = np.full(len(names), np.nan)
    own[judged] = shares[judged, retrieval.target()]
    wrong = own < shares.max(axis=1)
    label = retrieval.wells.label[retrieval.queries]
    chosen: list[int] = []
    for wanted, most in ((wrong, count // 2), (~wrong & retrieval.judged, count)):
        pool = order[wanted[order]]
        pool = pool[np.argsort(own[pool], kind="stable")] if wanted is wrong else pool
        turn = pd.Series(label[pool]).groupby(label[pool].astype(str)).cumcount().to_numpy()
        chosen += pool[np.argsort(turn, kind="stable")][: most - len(chosen)].tolist()
    return np.array(chosen, np.intp)


def _said_by_network(name: str) -> bool:
    return name.startswith(PROBABILITY) or name in (
        "predicted",
        "prediction_set",
        "out_of_distribution",
        "softmax_temperature",
    )
