"""What weights the feature maps for a class, the same in all images: DeadNet's equation 3.

The weights of Grad-CAM hold for one image, so that two crops of one place may be weighted otherwise
and disagree about the pixels that they share. Averaged over all training images of the class,

    alpha_hat[c, k] = mean of alpha[c, k],

they are computed once per run and layer, kept in `<run>/class_weights/<layer>.json`, and taken from
there as long as the network and the dataset are the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from deadlib.data.pipeline import batches
from deadlib.data.preprocess import preprocess_for
from deadlib.data.unit import unit_range
from deadlib.data.view import open_viewed
from deadlib.errors import InputError
from deadlib.inputs import ProgressCallback, RunInput, Warn, channel_positions, python_warning
from deadlib.interpretation.gradcam import maps_and_weights
from deadlib.outputs import written_whole
from deadlib.runs import CLASS_WEIGHTS, Run
from tfrecords_tools.errors import ToolsError, WriteError

TRAIN = "train"
BATCH = 32


@dataclass(frozen=True)
class ClassWeights:
    """The mean weights of a layer's K feature maps for each class."""

    weights: np.ndarray
    """(classes, K) float32, classes in the order of the run."""
    images: Mapping[str, int]
    """How many training images of each class the mean is taken over."""
    layer: str
    fingerprint: str
    """Of the dataset that the images stand in."""
    network_sha256: str
    """Of the weights of the whole network."""


class _Seen(NamedTuple):
    """A batch of training images as the network sees them, and their classes (-1: unknown)."""

    images: np.ndarray
    class_index: np.ndarray


def class_weights(
    given: RunInput,
    network: keras.Model,
    layer: str,
    *,
    progress: ProgressCallback | None = None,
    warn: Warn | None = None,
) -> ClassWeights:
    """The class weights of a run's layer, from the run directory or from its training images.

    These are looked for where the run was trained; where they are gone, the labelled training
    examples of the `given` dataset stand in for them, and `warn` says so. `warn` also tells that
    the run directory cannot be written, and nothing was kept.
    Raises InputError where there are no such examples, or none of some class.
    """
    run, warn = given.run, warn or python_warning
    stored = _stored(run, network, layer)
    if stored is not None and stored.fingerprint == run.dataset["fingerprint"]:
        return stored
    source = _training_images(given, warn)
    if stored is not None and stored.fingerprint == source.dataset.fingerprint:
        return stored
    found = mean_weights(source, network, layer, progress)
    try:
        _store(run, found)
    except WriteError as error:
        warn(f"the class weights are not kept, and will be computed again: {error}")
    return found


def mean_weights(
    source: RunInput, network: keras.Model, layer: str, progress: ProgressCallback | None = None
) -> ClassWeights:
    """Equation 3 over the labelled training examples of a dataset; nothing is read or stored.

    Each image is seen as in an evaluation, without augmentation.
    Raises InputError where a class of the run has no such example.
    """
    run = source.run
    total = int((source.dataset.manifest["split"] == TRAIN).sum())
    sums: np.ndarray = np.zeros(())
    counts, done = np.zeros(len(run.classes), np.int64), 0
    for images, class_index in _batches(source):
        known = class_index >= 0
        if known.any():
            _, weights = maps_and_weights(
                network, images[known], class_index[known].tolist(), layer
            )
            members = np.eye(len(run.classes))[class_index[known]]
            sums = sums + members.T @ weights.astype(np.float64)
            counts += members.sum(axis=0).astype(np.int64)
        done += len(images)
        if progress is not None:
            progress("class weights", done, total)
    missing = [name for name, count in zip(run.classes, counts, strict=True) if count == 0]
    if missing:
        raise InputError(
            f"{source.dataset.folder}: no training example of {', '.join(missing)}, and class "
            "weights are a mean over the training images of each class; give the dataset that the "
            "run was trained on as INPUT, or use --weights image"
        )
    return ClassWeights(
        weights=(sums / counts[:, None]).astype(np.float32),
        images={name: int(count) for name, count in zip(run.classes, counts, strict=True)},
        layer=layer,
        fingerprint=source.dataset.fingerprint,
        network_sha256=network_hash(network),
    )


def stored_path(run: Run, layer: str) -> Path:
    """Where the class weights of a layer are kept."""
    return run.folder / CLASS_WEIGHTS / (re.sub(r"[^\w.-]+", "_", layer) + ".json")


def network_hash(network: keras.Model) -> str:
    """SHA-256 (hexadecimal) of all weights of a network: equal only for equal networks."""
    digest = hashlib.sha256()
    for weight in network.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _stored(run: Run, network: keras.Model, layer: str) -> ClassWeights | None:
    """What an earlier call kept; None where there is nothing, or it is of another network."""
    try:
        found: dict[str, Any] = json.loads(stored_path(run, layer).read_text(encoding="utf-8"))
        found["weights"] = np.asarray(list(found["weights"].values()), np.float32)
        stored = ClassWeights(**found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    same = (
        stored.layer == layer
        and list(stored.images) == run.classes
        and stored.network_sha256 == network_hash(network)
    )
    return stored if same else None


def _store(run: Run, found: ClassWeights) -> None:
    by_class = dict(zip(run.classes, found.weights.tolist(), strict=True))
    with written_whole(stored_path(run, found.layer)) as partial:
        partial.write_text(json.dumps({**asdict(found), "weights": by_class}), encoding="utf-8")


def _training_images(given: RunInput, warn: Warn) -> RunInput:
    """The dataset that the run was trained on, or the given one in its place."""
    run = given.run
    if given.is_training_dataset:
        return given
    try:
        dataset = open_viewed(run.recipe, run.dataset["path"])
        if dataset.fingerprint == run.dataset["fingerprint"]:
            return RunInput(run, dataset, channel_positions(run, dataset))
    except ToolsError:
        pass
    manifest = given.dataset.manifest
    if not ((manifest["split"] == TRAIN) & manifest["label"].notna()).any():
        raise InputError(
            "class weights are a mean over the training images, but the dataset that the run was "
            f"trained on is not at {run.dataset['path']} any more, and {given.dataset.folder} has "
            "no labelled training examples; put the dataset back, give it as INPUT once, or use "
            "--weights image"
        )
    warn(
        f"the dataset that the run was trained on is not at {run.dataset['path']} any more; class "
        f"weights are the mean over the training examples of {given.dataset.folder}"
    )
    return given


def _batches(source: RunInput) -> Iterator[_Seen]:
    run, dataset = source.run, source.dataset
    preprocess = preprocess_for(run.recipe.input, run.dataset)
    index = {name: place for place, name in enumerate(run.classes)}
    labels = np.array([index.get(label, -1) for label in dataset.manifest["label"]])
    positions = list(source.channel_positions)
    parts = batches(dataset, TRAIN, run.recipe.input, batch=BATCH)
    for part in parts.as_numpy_iterator():
        images = unit_range(part["image"])[..., positions]
        seen = preprocess(source.corrected(images, part["row"]))
        yield _Seen(np.asarray(seen), labels[part["row"]])
