"""Which images are asked about, and what the network sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from deadlib.data.preprocess import fit_size, preprocess_for
from deadlib.data.unit import unit_range
from deadlib.errors import InputError
from deadlib.inputs import RunInput, spread_over_labels
from deadlib.runs import Run

PREDICTED = "predicted"
LABEL = "label"


def choose(given: RunInput, split: str, target: str, count: int, seed: int) -> pd.DataFrame:
    """At most `count` examples at random, as many of each class as there are, their shards intact.

    Raises InputError where no example can be asked about `target`, DatasetError on a shard that
    was cut or edited.
    """
    examples = _known_target(given.examples(split), target, given.run)
    chosen = spread_over_labels(examples, count, seed)
    verify_shards(given, chosen)
    return chosen


def verify_shards(given: RunInput, examples: pd.DataFrame) -> None:
    """Raise DatasetError where a shard that is about to be read was cut or edited."""
    dataset = given.dataset
    used = [shard for shard in dataset.info["shards"] if shard["file"] in set(examples["shard"])]
    replace(dataset, info={**dataset.info, "shards": used}).verify_checksums()


def as_seen(given: RunInput, stored: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """What the network gets of stored images (H, W, C) of the manifest's rows (B,).

    Returns (B, rows, columns, C) float32: fitted to the recipe's size, corrected for their plates,
    normalised.
    """
    section = given.run.recipe.input
    fitted = np.stack([np.asarray(fit_size(unit_range(image), section)) for image in stored])
    return np.asarray(
        preprocess_for(section, given.run.dataset)(given.corrected(fitted, rows)), np.float32
    )


def pixel_size_um(given: RunInput) -> float | None:
    """Micrometres per pixel of the stored images: their own, else those of the training images."""
    found = given.dataset.pixel_size_um or given.run.dataset.get("pixel_size_um")
    return None if found is None else float(found)


def _known_target(examples: pd.DataFrame, target: str, run: Run) -> pd.DataFrame:
    if target == PREDICTED or target in run.classes:
        return examples
    if target != LABEL:
        raise InputError(
            f"--target {target}: unknown; expected {PREDICTED}, {LABEL}, or a class of the run: "
            f"{', '.join(run.classes)}"
        )
    labelled = examples[examples["label"].notna()]
    if labelled.empty:
        raise InputError(
            f"--target {LABEL}: none of the {len(examples)} examples has a label; use "
            f"{PREDICTED} or the name of a class"
        )
    return labelled
