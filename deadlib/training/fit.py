"""Training, from a recipe to a finished run directory."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deadlib import runs
from deadlib._version import __version__
from deadlib.augment.build import check_steps
from deadlib.data.pipeline import batches, image_batches, prepared
from deadlib.data.plates import PLATE, correction_for, reference_statistics
from deadlib.data.preprocess import fit_statistics, preprocess_for
from deadlib.data.shapes import example_shape, record_shape
from deadlib.data.view import open_viewed
from deadlib.errors import RunError
from deadlib.recipe import Recipe
from deadlib.runs import Run
from deadlib.training.build import build_trainer, new_network
from deadlib.training.checks import check_recipe, validation_groups
from deadlib.training.devices import make_repeatable
from deadlib.training.loop import Loop, OnRound, Progress
from tfrecords_tools.card import data_card
from tfrecords_tools.dataset import Dataset

CACHE = "cache"
"""Beside the run directories, which may share it."""


def train(
    recipe: Recipe,
    run_folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    on_round: OnRound | None = None,
    warn: Callable[[str], None] | None = None,
    command: str | None = None,
) -> Run:
    """Train a recipe into a run directory and return the finished run.

    Args:
        run_folder: made if missing; refused where a run stands there already, unless `resume`
            (continue it; the same weights as without the interruption) or `overwrite` is given.
        progress: called as (stage, done, total).
        on_round: called after each validation with its row of history.csv.
        warn: called with each sentence that one must know, confounded classes for example.
        command: the command line, for versions.json.

    Raises RecipeError, RunError and tfrecords_tools' DatasetError with what to mend; StoppedError
    after SIGTERM or Ctrl-C, with a checkpoint written.
    """
    folder = Path(run_folder)
    runs.check_free(folder, recipe, resume=resume, overwrite=overwrite)
    dataset = open_viewed(recipe)
    check_recipe(recipe, dataset, warn or (lambda sentence: None))
    check_steps(recipe.augment, recipe.input, example_shape(dataset, recipe.input)[:2])
    if resume and (folder / runs.MODEL).is_file():
        return Run.open(folder)
    dataset.verify_checksums(progress)
    make_repeatable(recipe.seed, recipe.training.deterministic)
    stored = _stored_description(folder, dataset) if resume else None
    described = stored or describe_dataset(dataset, recipe)
    # Whatever is wrong with the recipe shows here, before a former run is deleted.
    trainer = build_trainer(
        recipe, dataset, described, cache=cache_folder(recipe, folder), progress=progress
    )
    if not resume:
        runs.start(folder, recipe, overwrite=overwrite)
    if stored is None:
        runs.write_text(folder / runs.VERSIONS, json.dumps(_versions(recipe, command), indent=1))
        runs.write_text(folder / runs.DATASET, json.dumps(described, indent=1))
    loop = Loop(
        recipe=recipe,
        folder=folder,
        classes=dataset.classes,
        groups=validation_groups(dataset, recipe.validation.group_by),
        trainer=trainer,
        plain=new_network(recipe, dataset),
        progress=progress,
        on_round=on_round,
    )
    if resume:
        loop.restore()
    _run(loop, dataset)
    network = loop.kept_network()
    # before the network, with which the run is finished
    runs.store_golden(folder, network, _seen_images(dataset, recipe, described))
    runs.save_network(network, folder / runs.MODEL)
    return Run.open(folder)


def _seen_images(dataset: Dataset, recipe: Recipe, described: dict[str, Any]) -> np.ndarray:
    """The first training images as the network sees them, (N, H, W, C) float32."""
    correct = correction_for(dataset, recipe.input, described)
    first = batches(dataset, "train", recipe.input, batch=runs.GOLDEN_EXAMPLES)
    images = prepared(next(first.as_numpy_iterator()), correct)
    return np.asarray(preprocess_for(recipe.input, described)(images), np.float32)


def cache_folder(recipe: Recipe, run_folder: Path) -> Path:
    """Where input.cache: disk keeps the images of a run."""
    return Path(recipe.input.cache_folder or run_folder.parent / CACHE)


def _run(loop: Loop, dataset: Dataset) -> None:
    """Raises RunError, with what to do, where the disk or the memory did not suffice, and
    DatasetError where a shard was damaged meanwhile."""
    try:
        loop.run()
    except tf.errors.ResourceExhaustedError as error:
        full_disk = "No space left" in error.message
        raise RunError(
            f"{loop.folder}: no space left on the disk; make room and go on with --resume"
            if full_disk
            else f"{loop.folder}: not enough memory; lower training.batch or input.size_px"
        ) from None
    except tf.errors.OpError:
        dataset.verify_checksums()
        raise


def _stored_description(folder: Path, dataset: Dataset) -> dict[str, Any] | None:
    """The run's dataset.json. Raises RunError where the run was started with another dataset."""
    path = folder / runs.DATASET
    if not path.is_file():
        return None
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if stored["fingerprint"] != dataset.fingerprint:
        raise RunError(
            f"{folder}: the run was started with another dataset than {dataset.folder} is now; "
            "give the former one, or start again with --overwrite"
        )
    return stored


def describe_dataset(dataset: Dataset, recipe: Recipe) -> dict[str, Any]:
    """What a run keeps of its dataset, as JSON; with the training split's intensity statistics
    where the recipe normalises by them."""
    statistics = None
    if recipe.input.normalise == "dataset":
        correct = correction_for(dataset, recipe.input, {})
        images = image_batches(dataset, "train", recipe.input, correct)
        statistics = fit_statistics(images).to_json()
    elif recipe.input.normalise in PLATE:
        statistics = reference_statistics(dataset, recipe.input)
    shape = record_shape(dataset.manifest)
    return {
        "path": str(dataset.folder.resolve()),
        "fingerprint": dataset.fingerprint,
        "name": dataset.name,
        "classes": dataset.classes,
        "channels": dataset.channels,
        "settings": dataset.info["settings"],
        "split": dataset.info["split"],
        "card": data_card(dataset),
        "statistics": statistics,
        "pixel_size_um": dataset.pixel_size_um,
        "modality": dataset.modality,
        "image_shape": None if shape is None else list(shape),
    }


def _versions(recipe: Recipe, command: str | None) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "deadlib": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "machine": platform.platform(),
        "cpus": os.cpu_count(),
        "devices": [
            tf.config.experimental.get_device_details(device).get("device_name", device.name)
            for device in tf.config.list_physical_devices()
        ],
        "seed": recipe.seed,
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
