"""Metric losses: where the embeddings of a batch lie to each other, as one number.

Each is called with class_index (B,) int, embeddings (B, D) float and, where pairs ask for it,
plate_index (B,) int. Over several replicas each gives its own share of the batch, and each is
answered with the value over the whole batch; the mean of the replicas' values and gradients is the
value and the gradient of one device. Embeddings are brought to length 1 first, so that only their
directions count; one of length 0 has none, is similar to nothing, and gets no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from deadlib.losses.pairs import PAIRS
from deadlib.losses.replicas import of_all_replicas
from deadlib.recipe import MetricLossSection

PROXIES = "proxies"
"""The path of proxy-anchor's variable, as optimiser.multipliers names it."""

_NOTHING = -1e30
"""The logarithm of nothing, in float32; its differences are numbers, unlike those of -inf."""


class SupervisedContrastiveLoss:
    """Draws examples of a class together and pushes the classes apart (Khosla et al. 2020, L_out).

    Of anchor i with positives P(i) and all its pairs A(i), positive and negative: the mean over
    p in P(i) of -log(exp(z_i z_p / T) / sum over a in A(i) of exp(z_i z_a / T)); then the mean over
    the anchors of which this is above 0, so that anchors without a positive do not count. A batch
    without any positive or without any negative pair is worth 0. As pytorch-metric-learning's
    SupConLoss, and the released CellDeathPred (A37).

    temperature: above 0; small ones look at the nearest negatives alone. pairs: a name in PAIRS;
    `classes` is the paper's.
    """

    variables: tuple[Any, ...] = ()

    def __init__(self, temperature: float = 0.1, pairs: str = "classes") -> None:
        if not temperature > 0:
            raise ValueError(f"temperature: expected a number above 0, found {temperature}")
        self.temperature = temperature
        self.pairs = pairs

    def __call__(self, class_index: Any, embeddings: Any, plate_index: Any = None) -> Any:
        similarity, positive, negative = _compared(self.pairs, class_index, embeddings, plate_index)
        counted = tf.cast(positive, tf.float32)
        logits = similarity / self.temperature
        whole = tf.reduce_logsumexp(
            tf.where(positive | negative, logits, _NOTHING), axis=1, keepdims=True
        )
        positives = tf.reduce_sum(counted, axis=1)
        # Where positive, so that an anchor without pairs adds no infinity.
        terms = tf.where(positive, whole - logits, 0.0)
        losses = tf.math.divide_no_nan(tf.reduce_sum(terms, axis=1), positives)
        return _mean_above_0(losses) * _any(negative)


class TripletLoss:
    """Wants every positive nearer to its anchor than every negative, by a margin.

    The mean of max(0, d(a, p) - d(a, n) + margin) over all triplets of which that is above 0, d
    being the distance of the embeddings on the unit sphere, 0-2 (Schroff et al. 2015). Holds a
    number for each triplet: N^3 for N examples in all replicas together.
    """

    variables: tuple[Any, ...] = ()

    def __init__(self, margin: float = 0.1, pairs: str = "classes") -> None:
        self.margin = margin
        self.pairs = pairs

    def __call__(self, class_index: Any, embeddings: Any, plate_index: Any = None) -> Any:
        similarity, positive, negative = _compared(
            self.pairs, class_index, embeddings, plate_index, tf.float64
        )
        squares = 2 - 2 * similarity
        # The root's slope at 0 is infinite; two embeddings in one place have no way to part.
        apart = squares > 1e-12
        distance = tf.where(apart, tf.sqrt(tf.where(apart, squares, 1.0)), 0.0)
        distance = tf.cast(distance, tf.float32)
        gaps = distance[:, :, None] - distance[:, None, :] + self.margin
        triplets = positive[:, :, None] & negative[:, None, :]
        return _mean_above_0(tf.where(triplets, gaps, 0.0))


class ProxyAnchorLoss:
    """Draws examples to a learnt point of their class, and away from those of the others.

    Kim et al. 2020 (arXiv:2003.13911), equation 4, with the classes of the batch as P+. The points,
    `variables`, are learnt like weights, and stand in the run's checkpoints, not in its network.
    """

    def __init__(
        self, classes: int, size: int, *, margin: float = 0.1, alpha: float = 32.0, seed: int = 0
    ) -> None:
        self.margin = margin
        self.alpha = alpha
        drawn = keras.initializers.RandomNormal(stddev=(2 / classes) ** 0.5, seed=seed)
        self.proxies = keras.Variable(drawn, shape=(classes, size), dtype="float32", name=PROXIES)
        self.variables: tuple[Any, ...] = (self.proxies,)

    def __call__(self, class_index: Any, embeddings: Any, plate_index: Any = None) -> Any:
        whole_index, whole = of_all_replicas(class_index, _directions(embeddings))
        points = _directions(tf.convert_to_tensor(self.proxies.value))
        similarity = tf.matmul(whole, points, transpose_b=True)
        own = tf.one_hot(whole_index, points.shape[0], on_value=True, off_value=False)
        drawn = _log_of_1_and(self.alpha * (self.margin - similarity), own)
        pushed = _log_of_1_and(self.alpha * (self.margin + similarity), ~own)
        present = tf.cast(tf.reduce_any(own, axis=0), tf.float32)
        return tf.reduce_sum(drawn) / tf.reduce_sum(present) + tf.reduce_mean(pushed)


@dataclass(frozen=True)
class Weighted:
    """A metric loss times its weight."""

    weight: float
    loss: Any

    @property
    def variables(self) -> tuple[Any, ...]:
        return tuple(self.loss.variables)

    def __call__(self, class_index: Any, embeddings: Any, plate_index: Any = None) -> Any:
        return self.weight * self.loss(class_index, embeddings, plate_index)


def build_metric_loss(
    section: MetricLossSection, *, classes: int, size: int, seed: int
) -> Weighted | None:
    """The metric loss of a recipe, or None; call it in the scope of the strategy.

    size: of the embeddings; seed: draws what the loss learns, alike on any number of devices.
    """
    loss = _named(section, classes, size, seed)
    return None if loss is None else Weighted(section.weight, loss)


def _named(section: MetricLossSection, classes: int, size: int, seed: int) -> Any:
    if section.name == "supervised_contrastive":
        return SupervisedContrastiveLoss(section.temperature, section.pairs)
    if section.name == "triplet":
        return TripletLoss(section.margin, section.pairs)
    if section.name == "proxy_anchor":
        return ProxyAnchorLoss(classes, size, margin=section.margin, alpha=section.alpha, seed=seed)
    return None


def _compared(
    pairs: str, class_index: Any, embeddings: Any, plate_index: Any, dtype: Any = tf.float32
) -> tuple[Any, Any, Any]:
    """Over all replicas: cosine similarity (N, N) of `dtype`, positive and negative pairs."""
    if plate_index is None:
        if pairs != "classes":
            raise ValueError(f"pairs: {pairs} needs plate_index, the plate of each example")
        plate_index = tf.zeros_like(class_index)
    classes, plates, whole = of_all_replicas(
        class_index, plate_index, _directions(embeddings, dtype)
    )
    similarity = tf.matmul(whole, whole, transpose_b=True)
    return similarity, *PAIRS[pairs](classes, plates, tf.stop_gradient(similarity))


def _directions(embeddings: Any, dtype: Any = tf.float32) -> Any:
    """Vectors (N, D) of length 1, in full precision whatever they come in; 0 stays 0."""
    wide = tf.cast(embeddings, dtype)
    squares = tf.reduce_sum(wide * wide, axis=1, keepdims=True)
    has_length = squares > 1e-30
    return tf.where(has_length, wide * tf.math.rsqrt(tf.where(has_length, squares, 1.0)), 0.0)


def _mean_above_0(losses: Any) -> Any:
    counted = tf.cast(losses > 0, losses.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * counted), tf.reduce_sum(counted))


def _any(mask: Any) -> Any:
    return tf.cast(tf.reduce_any(mask), tf.float32)


def _log_of_1_and(exponents: Any, mask: Any) -> Any:
    """log(1 + sum over the rows in `mask` of exp), (K,), of (N, K)."""
    kept = tf.where(mask, exponents, _NOTHING)
    return tf.reduce_logsumexp(tf.concat([tf.zeros_like(kept[:1]), kept], axis=0), axis=0)
