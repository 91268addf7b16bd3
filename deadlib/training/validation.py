"""How good an epoch is: predictions on the validation split, averaged by group, then measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from deadlib.metrics import METRICS, average_by_group

Forward = Callable[[Any], dict[str, Any]]


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
    `example_loss` (the recipe's own loss) and `example_accuracy` are over examples.
    """
    class_index, probabilities = average_by_group(
        groups[predictions.row], predictions.class_index, predictions.probabilities
    )
    measured = {
        f"validation_{name}": metric.function(class_index, probabilities)
        for name, metric in METRICS.items()
    }
    right = predictions.probabilities.argmax(axis=1) == predictions.class_index
    return {
        **measured,
        "validation_example_loss": float(predictions.losses.mean(dtype=np.float64)),
        "validation_example_accuracy": float(right.mean()),
    }


def confusion_counts(predictions: Predictions) -> np.ndarray:
    """(K, K) int: examples by true class (rows) and predicted class (columns)."""
    classes = predictions.probabilities.shape[1]
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (predictions.class_index, predictions.probabilities.argmax(axis=1)), 1)
    return counts
