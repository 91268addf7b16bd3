"""From a recipe and a dataset to everything that a training loop needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from deadlib.augment import build_augmenter
from deadlib.data.pipeline import HELD_BYTES, Held, Order, batches, hold
from deadlib.data.preprocess import Preprocess, preprocess_for
from deadlib.data.shapes import held_bytes, split_count
from deadlib.errors import RecipeError
from deadlib.losses import build_loss
from deadlib.models import build_network, load_initial_weights
from deadlib.recipe import Recipe
from deadlib.training.checks import class_counts
from deadlib.training.devices import choose_strategy, compiles_step, precision, scales_loss
from deadlib.training.optimisers import build_optimiser
from deadlib.training.schedules import build_schedule
from deadlib.training.step import TOTALS, Batch, Parts, build_forward, build_step
from tfrecords_tools.dataset import Dataset


@dataclass(frozen=True)
class Split:
    """One split of a dataset, to be read again and again: from memory where it fits."""

    dataset: Dataset
    name: str
    recipe: Recipe
    held: Held | None

    @classmethod
    def open(cls, dataset: Dataset, name: str, recipe: Recipe) -> Split:
        fits = held_bytes(dataset, name, recipe.input) <= HELD_BYTES
        return cls(dataset, name, recipe, hold(dataset, name, recipe.input) if fits else None)

    def batches(self, order: Order | None = None, skip: int = 0) -> tf.data.Dataset:
        size = self.recipe.training.batch
        if self.held is not None:
            return self.held.batches(batch=size, order=order, skip=skip)
        return batches(
            self.dataset, self.name, self.recipe.input, batch=size, order=order, skip=skip
        )


@dataclass(frozen=True)
class Trainer:
    """The network and its steps, compiled, with the data they take."""

    parts: Parts
    train: Split
    validation: Split
    steps: int
    """Steps in an epoch."""
    totals: tf.Variable
    """(3,) float64, sums over the running epoch as in `step.TOTALS`."""
    step: Callable[[Batch, Any], None]
    forward: Callable[[Batch], dict[str, Any]]
    schedule: LearningRateSchedule


def build_trainer(recipe: Recipe, dataset: Dataset, described: dict[str, Any]) -> Trainer:
    """Build everything for a recipe; `described` is the run's dataset.json.

    The initial weights follow from keras' global seed alone, whatever the number of devices.
    Raises RecipeError where the recipe does not fit the network, the dataset or its own parts.
    """
    train, validation = (Split.open(dataset, name, recipe) for name in ("train", "validation"))
    strategy = choose_strategy(recipe.training.strategy)
    preprocess = preprocess_for(recipe.input, described)
    steps = steps_per_epoch(recipe, dataset, strategy.num_replicas_in_sync)
    schedule = build_schedule(
        recipe.schedule, recipe.optimiser.learning_rate, steps * recipe.training.epochs
    )
    with precision(recipe.training):
        network = _network_on(strategy, recipe, dataset)
    with strategy.scope():
        optimiser = _optimiser_for(network, recipe, schedule, strategy.num_replicas_in_sync)
    parts = Parts(
        strategy=strategy,
        network=network,
        optimiser=optimiser,
        loss=build_loss(recipe.loss, dataset.classes, class_counts(dataset, "train")),
        augment=_augmenter(recipe, preprocess),
        preprocess=preprocess,
        seed=recipe.seed,
        clip_norm=recipe.optimiser.clip_norm,
    )
    totals = tf.Variable(tf.zeros(len(TOTALS), tf.float64))
    spec = train.batches().element_spec
    compiled = compiles_step(recipe.training, strategy.num_replicas_in_sync)
    return Trainer(
        parts=parts,
        train=train,
        validation=validation,
        steps=steps,
        totals=totals,
        step=build_step(parts, totals, spec, compiled=compiled),
        forward=build_forward(parts, spec),
        schedule=schedule,
    )


def steps_per_epoch(recipe: Recipe, dataset: Dataset, replicas: int) -> int:
    """Steps in one pass over the training split; the last batch may be smaller.

    Over several devices a last batch of fewer examples than devices is left out of that epoch,
    because every device needs an example. Raises RecipeError where no step is left.
    """
    full, rest = divmod(split_count(dataset, "train"), recipe.training.batch)
    steps = full + int(rest >= replicas)
    if steps == 0 or recipe.training.batch < replicas:
        raise RecipeError(
            f"training.batch: {recipe.training.batch} gives no example to some of {replicas} "
            "devices; take a larger batch, or training.strategy: one"
        )
    return steps


def new_network(recipe: Recipe, dataset: Dataset, *, synchronised: bool = False) -> keras.Model:
    """The network of a recipe with random weights, in the precision that Keras is set to."""
    return build_network(
        recipe.model,
        size_px=recipe.input.size_px,
        channels=len(dataset.channels),
        classes=len(dataset.classes),
        synchronised=synchronised,
    )


def _network_on(strategy: tf.distribute.Strategy, recipe: Recipe, dataset: Dataset) -> keras.Model:
    """The network with its initial weights, which do not depend on the number of devices."""
    network = new_network(recipe, dataset)
    load_initial_weights(network, recipe.model)
    if strategy.num_replicas_in_sync == 1:
        return network
    with strategy.scope():
        mirrored = new_network(recipe, dataset, synchronised=True)
        mirrored.set_weights(network.get_weights())
    return mirrored


def _optimiser_for(
    network: keras.Model, recipe: Recipe, schedule: LearningRateSchedule, replicas: int
) -> keras.optimizers.Optimizer:
    section = recipe.optimiser
    if replicas > 1:
        # Keras clips before it sums over replicas; the step does it over the sum.
        section = section.model_copy(update={"clip_norm": None})
    optimiser = build_optimiser(section, schedule)
    if scales_loss(recipe.training):
        optimiser = keras.optimizers.LossScaleOptimizer(optimiser)
    optimiser.build(network.trainable_variables)
    return optimiser


def _augmenter(recipe: Recipe, preprocess: Preprocess) -> Callable[[Any, Any], Any]:
    """Random crop, augmentation and normalisation as one function, compiled by XLA where it pays.

    Warps take half the time when compiled, also on CPUs; without augmentation there is little to
    compile.
    """
    augment = build_augmenter(recipe.augment, input=recipe.input, normalise=preprocess.normalise)
    if recipe.augment and recipe.training.jit != "off":
        return tf.function(augment, jit_compile=True, autograph=False)
    return augment
