"""One training step and one validation step, compiled, on one device or several.

Nothing comes back to Python from a training step: sums over the round are kept on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from deadlib.models import embedded, halves
from deadlib.training.phases import Phase

Batch = dict[str, Any]
Augmenter = Callable[[Any, Any], Any]
Mixer = Callable[[Any, Any, Any], tuple[Any, Any]]
Loss = Callable[[Any, Any], Any]
MetricLoss = Callable[[Any, Any, Any], Any]
"""Of class_index (B,), embeddings (B, D) and plate_index (B,) of this replica's share: the loss ()
float32 of the whole global batch, the same on every replica."""


@dataclass(frozen=True)
class Parts:
    """What a step is made of; all variables made under the scope of `strategy`."""

    strategy: tf.distribute.Strategy
    network: keras.Model
    loss: Loss
    classes: int
    augment: Augmenter
    """What happens to each image by itself, on the device; nothing where the host did it."""
    mix: Mixer | None
    """What happens to the images of a device together."""
    preprocess: Callable[[Any], Any]
    """From images to what the network sees in validation."""
    seed: int
    clip_norm: float | None
    loss_weight: float = 1.0
    metric_loss: MetricLoss | None = None
    """Its weight is its own."""
    plate_index: Any = None
    """(rows of the manifest,) int32, for `metric_loss`."""
    shares: Any = None
    """(rows of the manifest, K) float32, what the network is to answer; None: the class alone."""


def build_step(
    parts: Parts, phase: Phase, totals: tf.Variable, batch_spec: Any, *, compiled: bool
) -> Callable[[Batch, Any], None]:
    """The training step of a phase: (global batch, global step () int32) → nothing.

    It adds to `totals` (4,), in the order of `state.TOTALS`.

    The batch must have an example for every device. An answer is right where it is the class with
    the largest share of an example that is mixed or was voted on.
    The loss is the sum over the examples divided by the size of the global batch, whatever the
    number of devices and also in a smaller last batch; a metric loss is added to that.
    """
    embed, classify = halves(parts.network)
    replicas = parts.strategy.num_replicas_in_sync
    variables, optimiser = phase.variables, phase.optimiser

    def on_replica(everything: Batch, step: Any) -> Any:
        context = tf.distribute.get_replica_context()
        batch = _share(everything, context)
        inputs, targets = prepare(parts, batch, step)
        here = tf.cast(tf.shape(targets)[0], tf.float32)
        everywhere = context.all_reduce(tf.distribute.ReduceOp.SUM, here)
        with tf.GradientTape() as tape:
            embedding = embedded(embed, inputs, training=True)
            logits = classify(embedding, training=True)
            loss = tf.reduce_sum(parts.loss(targets, logits))
            metric = _metric_loss(parts, batch, embedding)
            whole = parts.loss_weight * loss / everywhere + metric / replicas
            scaled = optimiser.scale_loss(whole)
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        if parts.clip_norm is not None and replicas > 1:
            limit = optimiser.scale_loss(tf.constant(parts.clip_norm))
            gradients = _clip_together(gradients, limit, context)
        optimiser.apply(gradients, variables)
        found, dominant = (tf.argmax(values, axis=-1) for values in (logits, targets))
        right = tf.reduce_sum(tf.cast(found == dominant, tf.float32))
        return tf.cast(tf.stack([loss, right, here, metric * here]), tf.float64)

    def step(batch: Batch, number: Any) -> None:
        sums = parts.strategy.run(on_replica, (batch, number))
        totals.assign_add(parts.strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None))

    return tf.function(
        step,
        input_signature=(batch_spec, tf.TensorSpec((), tf.int32)),
        jit_compile=compiled or None,
        autograph=False,
    )


def _metric_loss(parts: Parts, batch: Batch, embedding: Any) -> Any:
    if parts.metric_loss is None:
        return tf.zeros(())
    plates = tf.gather(parts.plate_index, batch["row"])
    return parts.metric_loss(batch["class_index"], embedding, plates)


def build_forward(
    parts: Parts,
    embed: keras.Model,
    classify: keras.Model,
    batch_spec: Any,
    *,
    embeddings: bool = False,
) -> Callable[[Batch], dict[str, Any]]:
    """The validation step: a batch → its row, class_index, probabilities (B, K) and losses (B,),
    and where asked embeddings (B, D).

    embed, classify: the halves of the network of `parts`, as they are at test.
    """

    def on_replica(whole: Batch) -> dict[str, Any]:
        batch = _share(whole, tf.distribute.get_replica_context())
        embedding = embedded(embed, parts.preprocess(batch["image"]), training=False)
        logits = classify(embedding, training=False)
        return {
            **({"embeddings": embedding} if embeddings else {}),
            "row": batch["row"],
            "class_index": batch["class_index"],
            "probabilities": tf.nn.softmax(logits),
            "losses": parts.loss(_targets(parts, batch), logits),
        }

    def forward(batch: Batch) -> dict[str, Any]:
        outputs = parts.strategy.run(on_replica, (batch,))
        return {name: parts.strategy.gather(value, axis=0) for name, value in outputs.items()}

    return tf.function(forward, input_signature=(batch_spec,), autograph=False)


def prepare(parts: Parts, batch: Batch, step: Any) -> tuple[Any, Any]:
    """What the network gets of a batch: inputs (B, H, W, C) and targets (B, K) float32."""
    seeds = example_seeds(parts.seed, step, batch["row"])
    inputs = parts.augment(batch["image"], seeds)
    targets = _targets(parts, batch)
    return parts.mix(inputs, targets, seeds) if parts.mix else (inputs, targets)


def _targets(parts: Parts, batch: Batch) -> Any:
    """The share of each class in each example, (B, K) float32."""
    if parts.shares is None:
        return tf.one_hot(batch["class_index"], parts.classes)
    return tf.gather(parts.shares, batch["row"])


def example_seeds(seed: int, step: Any, row: Any) -> Any:
    """What the augmentation of each example is drawn from, (B, 2) uint32.

    It follows from the recipe's seed, the step () int and the example's row (B,) in the manifest,
    so that an example is augmented alike on whatever device it comes to stand.
    """
    # Odd, and none that the augmentations derive their streams with: steps must not meet them.
    spread = tf.constant(0x85EBCA6B, tf.uint32)
    first = tf.constant(seed, tf.uint32) + tf.cast(step, tf.uint32) * spread
    second = tf.cast(row, tf.uint32)
    return tf.stack([tf.fill(tf.shape(second), first), second], axis=-1)


def _share(batch: Batch, context: Any) -> Batch:
    """What this replica gets of the global batch: a slice, all nearly equal in size.

    tf.distribute's own dealing fills one replica after the other, so that the last ones get
    nothing of a small batch, which synchronised batch normalisation cannot bear.
    """
    replicas = context.num_replicas_in_sync
    if replicas == 1:
        return batch
    with tf.device("/CPU:0"):  # so that a device is sent its own share only
        size, place = tf.shape(batch["row"])[0], context.replica_id_in_sync_group
        start, stop = size * place // replicas, size * (place + 1) // replicas
        return {name: value[start:stop] for name, value in batch.items()}


def _clip_together(gradients: list[Any], limit: Any, context: Any) -> list[Any]:
    """Scale this replica's share so that the norm of the sum over replicas is at most `limit`.

    Keras clips before it sums, which would clip each share by itself.
    """
    whole = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    factor = tf.minimum(1.0, limit / tf.linalg.global_norm(whole))
    return [gradient * factor for gradient in gradients]
