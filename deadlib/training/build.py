"""From a recipe and a dataset to everything that a training loop needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from deadlib.augment import build_augmenter, build_mixer
from deadlib.augment.build import is_foreign
from deadlib.data.cache import Progress, cache_path, check_memory, hold, on_disk
from deadlib.data.order import Chosen, Order, Shuffled, even_batch
from deadlib.data.pipeline import Source, open_source, prepared
from deadlib.data.plates import Correction, correction_for
from deadlib.data.preprocess import Preprocess, preprocess_for
from deadlib.data.sampling import Plan, PlatesAndClasses, plan_of, plate_index
from deadlib.data.shapes import split_count
from deadlib.data.votes import vote_shares
from deadlib.errors import RecipeError
from deadlib.losses import build_loss, build_metric_loss
from deadlib.models import at_test, build_network, halves, learning, load_initial_weights
from deadlib.recipe import InputSection, Recipe
from deadlib.training.checks import class_counts, looks_at_plates
from deadlib.training.devices import choose_strategy, compiles_step, precision
from deadlib.training.host import augmented_on_host
from deadlib.training.phases import Phase, phase_at, phases_of, tested_phase
from deadlib.training.rounds import Rounds, rounds_of
from deadlib.training.state import TOTALS
from deadlib.training.step import Augmenter, Batch, Parts, build_forward, build_step
from tfrecords_tools.dataset import Dataset

HELD_BYTES = 512 * 2**20
"""A split whose images need no more than this is held in memory."""


@dataclass(frozen=True)
class Trainer:
    """The network and its steps, compiled, with the data they take."""

    parts: Parts
    train: Source
    validation: Source
    rounds: Rounds
    totals: tf.Variable
    """(4,) float64, sums over the running round as in `state.TOTALS`."""
    images: Callable[[Batch], Any]
    """What the augmentation is given of a batch, (B, H, W, C) float32 in unit range."""
    phases: tuple[Phase, ...]
    steps: tuple[Callable[[Batch, Any], None], ...]
    """The compiled step of each phase."""
    forward: Callable[[Batch], dict[str, Any]]
    host_augment: Augmenter | None
    """Where the host augments: how; None where it is part of `step`."""
    order: Callable[[int], Order]
    """Of the training examples, in the epoch of that number."""
    learnt: tuple[Any, ...]
    """What learns beside the network."""
    batch: int
    """Examples a step."""
    validation_batch: int
    validation_order: Order | None
    """None: all examples as they lie in the shards."""

    def step(self, batch: Batch, number: int) -> None:
        """The training step `number`, counted from 0, of its phase; adds to `totals`."""
        phase = phase_at(self.phases, number)
        self.steps[self.phases.index(phase)](batch, tf.constant(number, tf.int32))

    def batches(self, step: int) -> Iterator[Batch]:
        """What `step` takes, from the given one on, epoch after epoch, without end."""
        first, skip = divmod(step, self.rounds.epoch)
        for epoch in count(first):
            yield from islice(self._epoch(epoch, skip), self.rounds.epoch - skip)
            skip = 0

    def validation_batches(self) -> tf.data.Dataset:
        """What `forward` takes, the same in every validation."""
        return self.validation.batches(batch=self.validation_batch, order=self.validation_order)

    def _epoch(self, epoch: int, skip: int) -> tf.data.Dataset:
        batches = self.train.batches(batch=self.batch, order=self.order(epoch), skip=skip)
        if self.host_augment is None:
            return batches
        first_step = epoch * self.rounds.epoch + skip
        return augmented_on_host(
            batches, self.images, self.host_augment, seed=self.parts.seed, first_step=first_step
        )


def build_trainer(
    recipe: Recipe,
    dataset: Dataset,
    described: dict[str, Any],
    *,
    cache: Path,
    progress: Progress | None = None,
    test: LearningRateSchedule | None = None,
) -> Trainer:
    """Build everything for a recipe; `described` is the run's dataset.json.

    The initial weights follow from keras' global seed alone, whatever the number of devices.
    cache: the folder for images that input.cache keeps on the disk. test: learning rates in place
    of the recipe's, for a training that has its last phase alone.
    Raises RecipeError where the recipe does not fit the network, the dataset or its own parts.
    """
    train, validation = (
        _source(dataset, name, recipe.input, cache, progress) for name in ("train", "validation")
    )
    strategy = choose_strategy(recipe.training.strategy)
    preprocess = preprocess_for(recipe.input, described)
    plan = plan_of(recipe, dataset, train.rows)
    steps = steps_per_epoch(recipe, dataset, strategy.num_replicas_in_sync, plan)
    rounds = rounds_of(recipe, steps)
    with precision(recipe.training):
        network = _network_on(strategy, recipe, dataset)
    with strategy.scope():
        embed, classify = (at_test(half, recipe.model) for half in halves(network))
        metric_loss = build_metric_loss(
            recipe.metric_loss,
            classes=len(dataset.classes),
            size=embed.output.shape[-1],
            seed=recipe.seed,
        )
        learnt = () if metric_loss is None else metric_loss.variables
        phases = (
            phases_of(recipe, network, rounds, learnt, replicas=strategy.num_replicas_in_sync)
            if test is None
            else (
                tested_phase(recipe, network, test, learnt, replicas=strategy.num_replicas_in_sync),
            )
        )
    on_host = recipe.training.augment_on == "host"
    augment = _augmenter(recipe, preprocess)
    mix = build_mixer(recipe.augment)
    if mix is not None and metric_loss is not None:
        raise RecipeError(
            f"metric_loss.name: {recipe.metric_loss.name} compares images of one class each, and "
            "augment mixes images of several; leave mixup and cutmix out, or set metric_loss.name: "
            "none"
        )
    shares = vote_shares(dataset) if recipe.loss.targets == "votes" else None
    counts = class_counts(dataset, "train") if shares is None else shares[train.rows].sum(axis=0)
    parts = Parts(
        strategy=strategy,
        network=network,
        loss=build_loss(recipe.loss, dataset.classes, counts),
        classes=len(dataset.classes),
        augment=_unchanged if on_host else augment,
        mix=mix,
        preprocess=preprocess.crops,
        seed=recipe.seed,
        clip_norm=recipe.optimiser.clip_norm,
        loss_weight=recipe.loss.weight,
        metric_loss=metric_loss,
        plate_index=_plate_index(recipe, dataset, train),
        shares=shares,
    )
    totals = tf.Variable(tf.zeros(len(TOTALS), tf.float64))
    spec = train.batches(batch=recipe.training.batch).element_spec
    floats = {**spec, "image": tf.TensorSpec(spec["image"].shape, tf.float32)}
    compiled = compiles_step(recipe.training, strategy.num_replicas_in_sync) and (
        on_host or not any(map(is_foreign, recipe.augment))
    )
    correct = correction_for(dataset, recipe.input, described)
    from_stored = partial(_from_stored, spec=spec, strategy=strategy, correct=correct)
    return Trainer(
        parts=parts,
        train=train,
        validation=validation,
        rounds=rounds,
        totals=totals,
        images=partial(prepared, correct=correct),
        phases=phases,
        steps=tuple(
            build_step(parts, phase, totals, _augmented_spec(floats, recipe), compiled=compiled)
            if on_host
            else from_stored(build_step(parts, phase, totals, floats, compiled=compiled))
            for phase in phases
        ),
        forward=from_stored(
            build_forward(parts, embed, classify, floats, embeddings=_is_retrieved(recipe))
        ),
        host_augment=augment if on_host else None,
        order=partial(_order, recipe.seed, plan),
        learnt=learnt,
        batch=recipe.training.batch,
        validation_batch=_validation_batch(recipe, validation),
        validation_order=_validation_order(recipe, validation),
    )


def _order(seed: int, plan: Plan | None, epoch: int) -> Order:
    return Shuffled(seed, epoch) if plan is None else PlatesAndClasses(seed, epoch, plan)


def _plate_index(recipe: Recipe, dataset: Dataset, source: Source) -> Any:
    """What `Parts` wants where the metric loss looks at plates; elsewhere all stand on one."""
    if not looks_at_plates(recipe):
        return np.zeros(len(dataset.manifest), np.int32)
    return plate_index(dataset, recipe.sampling.by, source.rows).astype(np.int32)


def _is_retrieved(recipe: Recipe) -> bool:
    """Whether a validation searches groups among each other."""
    return recipe.metric_loss.name != "none" or recipe.validation.metric == "map_at_r"


def _validation_order(recipe: Recipe, source: Source) -> Order | None:
    """The examples that validation looks at: the recipe's choice, classes mixed where one example
    changes the answer of another."""
    examples = recipe.validation.examples
    if examples is None and recipe.model.bn_at_test == "moving":
        return None
    return Chosen(recipe.seed, source.class_index, examples or len(source.rows))


def _validation_batch(recipe: Recipe, source: Source) -> int:
    if recipe.model.bn_at_test == "moving":
        return recipe.training.batch
    looked_at = min(recipe.validation.examples or len(source.rows), len(source.rows))
    return even_batch(looked_at, recipe.training.batch)


def steps_per_epoch(
    recipe: Recipe, dataset: Dataset, replicas: int, plan: Plan | None = None
) -> int:
    """Steps in one pass over the training split, or over the plan of its batches; the last batch
    may be smaller, or is left out with training.drop_last.

    Over several devices a last batch of fewer examples than devices is left out of that epoch,
    because every device needs an example. Raises RecipeError where no step is left.
    """
    examples = split_count(dataset, "train") if plan is None else plan.examples
    full, rest = divmod(examples, recipe.training.batch)
    steps = full + int(rest >= replicas and not recipe.training.drop_last)
    if full == 0 and recipe.training.drop_last:
        raise RecipeError(
            f"training.drop_last: training.batch: {recipe.training.batch} is more than the "
            f"{rest} examples of the training split; take a smaller batch"
        )
    if steps == 0 or recipe.training.batch < replicas:
        raise RecipeError(
            f"training.batch: {recipe.training.batch} gives no example to some of {replicas} "
            "devices; take a larger batch, or training.strategy: one"
        )
    return steps


def new_network(recipe: Recipe, dataset: Dataset) -> keras.Model:
    """The network of a recipe with random weights, in the precision that Keras is set to."""
    return build_network(
        recipe.model,
        size_px=recipe.input.size_px,
        channels=len(dataset.channels),
        classes=len(dataset.classes),
    )


def _source(
    dataset: Dataset, name: str, section: InputSection, cache: Path, progress: Progress | None
) -> Source:
    """A split, to be read again and again, kept where the recipe says."""
    source = open_source(dataset, name, section)
    if section.cache == "disk":
        return on_disk(source, cache_path(cache, dataset, name, section), progress)
    if section.cache == "memory":
        check_memory(source.image_bytes, name)
    is_small = section.cache == "auto" and source.image_bytes <= HELD_BYTES
    return hold(source, progress) if section.cache == "memory" or is_small else source


def _from_stored(
    function: Callable[..., Any],
    spec: Any,
    strategy: tf.distribute.Strategy,
    correct: Correction | None,
) -> Callable[..., Any]:
    """A step that takes batches with images as they are stored, and prepares them.

    Not within the step itself, as XLA rounds this division otherwise.
    """
    # Several devices are sent their shares from the host.
    device = "/CPU:0" if strategy.num_replicas_in_sync > 1 else None

    def from_stored(batch: Batch, *others: Any) -> Any:
        with tf.device(device):
            images = prepared(batch, correct)
        return function({**batch, "image": images}, *others)

    if spec["image"].dtype == tf.float32 and correct is None:
        return function
    return tf.function(from_stored, autograph=False)


def _network_on(strategy: tf.distribute.Strategy, recipe: Recipe, dataset: Dataset) -> keras.Model:
    """The network with its initial weights, which do not depend on the number of devices."""
    network = new_network(recipe, dataset)
    load_initial_weights(network, recipe.model)
    with strategy.scope():
        found = learning(
            network,
            recipe.model,
            frozen=recipe.freeze.batch_norm,
            synchronised=strategy.num_replicas_in_sync > 1,
            compiled=recipe.training.jit != "off",
        )
        found.set_weights(network.get_weights())
    return found


def _unchanged(images: Any, seeds: Any) -> Any:
    return images


def _augmented_spec(floats: Any, recipe: Recipe) -> Any:
    """What batches are when they come augmented: images of the size that the network takes."""
    batch, *_, channels = floats["image"].shape
    crops = () if recipe.input.crops == 1 else (recipe.input.crops,)
    shape = (batch, *crops, *recipe.input.size_px, channels)
    return {**floats, "image": tf.TensorSpec(shape, tf.float32)}


def _augmenter(recipe: Recipe, preprocess: Preprocess) -> Callable[[Any, Any], Any]:
    """Random crop, augmentation and normalisation as one function, compiled by XLA where it pays.

    Warps take half the time when compiled, also on CPUs; without augmentation there is little to
    compile.
    """
    augment = build_augmenter(recipe.augment, input=recipe.input, normalise=preprocess.normalise)
    if recipe.augment and recipe.training.jit != "off" and not any(map(is_foreign, recipe.augment)):
        return tf.function(augment, jit_compile=True, autograph=False)
    return augment
