"""Losses: one number per example, so that the caller decides how to average over replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from deadlib.errors import RecipeError
from deadlib.recipe import LossSection, nearest

Loss = Callable[[Any, Any], Any]


def build_loss(section: LossSection, classes: Sequence[str], class_counts: Sequence[float]) -> Loss:
    """The loss of a recipe: (targets (B, K), logits (B, K)) to losses (B,) float32.

    targets: the share of each class, summing to 1; one-hot where an image is of one class alone.
    `class_counts` are the training examples of each class, or the sums of their shares. The loss of
    an example of one class is weight of its class x sum over classes of target x (1 - p)^gamma x
    -log p, with gamma = 0 for cross-entropy and targets smoothed by label_smoothing; "focal" is
    Lin et al. 2017 (arXiv:1708.02002) without its alpha, which is class_weights here. That of a
    mixed example is the mean over its classes, by their shares.

    Raises RecipeError for weights of classes that do not exist or cannot be balanced.
    """
    weights = class_weights(section.class_weights, classes, class_counts)
    gamma = section.focal_gamma if section.name == "focal" else 0.0
    smoothing, count = section.label_smoothing, len(classes)

    def loss(targets: Any, logits: Any) -> Any:
        log_p = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
        weighted = ops.convert_to_tensor(weights) * ops.cast(targets, "float32")
        total = ops.sum(weighted, axis=-1, keepdims=True)
        terms = -((1 - smoothing) * weighted + smoothing / count * total) * log_p
        if gamma:
            terms = terms * ops.power(_complement(log_p), gamma)
        return ops.sum(terms, axis=-1)

    return loss


def class_weights(
    choice: str | dict[str, float], classes: Sequence[str], class_counts: Sequence[float]
) -> np.ndarray:
    """The weight of each class, (K,) float32.

    balanced: total / (K x count), which is inverse frequency with mean 1 over the training
    examples. By name: classes that are not named weigh 1. Raises RecipeError.
    """
    if choice == "none":
        return np.ones(len(classes), np.float32)
    if isinstance(choice, dict):
        return _named_weights(choice, classes)
    counts = np.asarray(class_counts, np.float64)
    if not counts.all():
        empty = [name for name, count in zip(classes, counts, strict=True) if not count]
        raise RecipeError(
            f"loss.class_weights: balanced needs every class in the training split, which has no "
            f"example of {', '.join(empty)}; give weights by class name, or another split"
        )
    return (counts.sum() / (len(classes) * counts)).astype(np.float32)


def _named_weights(choice: dict[str, float], classes: Sequence[str]) -> np.ndarray:
    for name, weight in choice.items():
        if name not in classes:
            raise RecipeError(
                f"loss.class_weights: {name!r} is no class of the dataset; {nearest(name, classes)}"
            )
        if not (np.isfinite(weight) and weight >= 0):
            raise RecipeError(
                f"loss.class_weights.{name}: {weight}; expected a finite number, 0 or larger"
            )
    return np.array([choice.get(name, 1.0) for name in classes], np.float32)


def _complement(log_p: Any) -> Any:
    """1 - p, kept above 0: the gradient of a power below 1 is infinite at 0."""
    return ops.maximum(-ops.expm1(log_p), keras.config.epsilon())
