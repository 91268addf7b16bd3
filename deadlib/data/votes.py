"""What annotators voted, as the targets of a training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deadlib.errors import RecipeError
from tfrecords_tools.annotations import SHARE
from tfrecords_tools.dataset import Dataset

_ROUNDING = 1e-6


def vote_shares(dataset: Dataset) -> NDArray[np.float32]:
    """The share of each class in what is known of each example, (rows of the manifest, K).

    Votes for what is no class of the dataset, unsure above all, count for every class alike: who
    cannot tell leaves all open. An example without votes is wholly of its label, and one without a
    label either has zeros.

    Raises RecipeError where the dataset has no votes for one of its classes, or shares that are
    none.
    """
    manifest, classes = dataset.manifest, dataset.classes
    columns = [SHARE + name for name in classes]
    missing = [name for name in columns if name not in manifest]
    if missing:
        raise RecipeError(
            f"loss.targets: votes, but {dataset.folder} has no column {', '.join(missing)}; "
            "convert with --annotations and --agreement votes (or majority), or set loss.targets: "
            "labels"
        )
    votes = manifest[columns].to_numpy(np.float64, na_value=np.nan)
    known = np.isfinite(votes).any(axis=1)
    votes = np.nan_to_num(votes, nan=0.0)
    rest = 1 - votes.sum(axis=1)
    wrong = np.flatnonzero(known & ((votes < 0).any(axis=1) | (rest < -_ROUNDING)))
    if len(wrong):
        example = manifest["example_id"].iloc[wrong[0]]
        found = ", ".join(
            f"{name} {value:g}" for name, value in zip(columns, votes[wrong[0]], strict=True)
        )
        raise RecipeError(
            f"{dataset.folder}: example {example} has {found}; expected shares of 0 to 1 that "
            "sum to 1 at most"
        )
    labels = manifest["label"].to_numpy(object)[:, None] == np.array(classes, object)
    spread = votes + np.maximum(rest, 0)[:, None] / len(classes)
    return np.where(known[:, None], spread, labels).astype(np.float32)
