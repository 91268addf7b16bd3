"""How good an epoch is: answers on the validation split, averaged by group, then measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from deadlib.metrics import METRICS, average_by_group
from deadlib.retrieval import directions, retrieval

Forward = Callable[[Any], dict[str, Any]]

MOST_SEARCHED = 4096
"""Of more groups so many, evenly spread, are searched among each other, which takes seconds; the
time grows with the square of their number."""


@dataclass(frozen=True)
class Predictions:
    """Of the validation split, one row per example."""

    row: np.ndarray
    """(N,) int64, the example's row in the manifest."""
    class_index: np.ndarray
    """(N,) int32."""
    probabilities: np.ndarray
    """(N, K) float32."""
    losses: np.ndarray
    """(N,) float32, the recipe's loss of each example."""
    embeddings: np.ndarray | None = None
    """(N, D) float32, where they were asked for."""


def predict_batches(
    forward: Forward, batches: Iterable[Any], after_batch: Callable[[], None]
) -> Predictions:
    """Apply the validation step to all batches."""
    outputs = []
    for batch in batches:
        outputs.append(forward(batch))
        after_batch()
    joined = {
        name: np.concatenate([output[name].numpy() for output in outputs]) for name in outputs[0]
    }
    return Predictions(**joined)


def measure(predictions: Predictions, groups: np.ndarray) -> dict[str, float]:
    """The columns `validation_...` of the history.

    `groups` (rows of the manifest,) names the group of every example. Metrics are over groups;
    `example_loss` (the recipe's own loss) and `example_accuracy` are over examples. With embeddings
    each group (of more than 4,096 so many) is searched among the others, by its mean embedding.
    """
    answers = [predictions.probabilities]
    if predictions.embeddings is not None:
        answers.append(directions(predictions.embeddings))
    class_index, means = average_by_group(
        groups[predictions.row], predictions.class_index, np.concatenate(answers, axis=1)
    )
    classes = predictions.probabilities.shape[1]
    probabilities, embeddings = means[:, :classes], means[:, classes:]
    measured = {
        f"validation_{name}": metric.function(class_index, probabilities)
        for name, metric in METRICS.items()
    }
    if predictions.embeddings is not None:
        found = retrieval(*_spread(class_index, embeddings)).means()
        measured |= {f"validation_{name}": value for name, value in found.items()}
    right = predictions.probabilities.argmax(axis=1) == predictions.class_index
    return {
        **measured,
        "validation_example_loss": float(predictions.losses.mean(dtype=np.float64)),
        "validation_example_accuracy": float(right.mean()),
    }


def _spread(*columns: np.ndarray) -> list[np.ndarray]:
    """At most `MOST_SEARCHED` rows of each of the columns (N, ...), evenly spread."""
    number = len(columns[0])
    kept = np.linspace(0, number - 1, min(number, MOST_SEARCHED)).round().astype(int)
    return [column[kept] for column in columns]


def is_higher_better(metric: str) -> bool:
    """Of a name that validation.metric may have."""
    return metric not in METRICS or METRICS[metric].higher_is_better


def confusion_counts(predictions: Predictions) -> np.ndarray:
    """(K, K) int: examples by true class (rows) and predicted class (columns)."""
    classes = predictions.probabilities.shape[1]
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (predictions.class_index, predictions.probabilities.argmax(axis=1)), 1)
    return counts
