"""A run calibrated on examples that training never saw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deadlib._version import __version__
from deadlib.calibration import (
    Calibration,
    fewest_groups,
    fit_calibration,
    group_weights,
    groups_of_classes,
    softmax,
)
from deadlib.calibration.temperature import LARGEST
from deadlib.errors import InputError
from deadlib.inference.table import Answers, answers, complete, joined, learnt, reported
from deadlib.inputs import ALL, ProgressCallback, RunInput, Warn, open_input, python_warning
from deadlib.metrics import METRICS
from deadlib.runs import Run
from deadlib.views import check_views
from tfrecords_tools import open_dataset
from tfrecords_tools.errors import ToolsError
from tfrecords_tools.shards import file_hash
from tfrecords_tools.split import check_column, group_columns, group_names, unit_name

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("calibration", "validation")
"""Where a run is calibrated if nothing else is asked: the first that there is."""
COVERAGE = 0.9
TRAINING_EXAMPLES = 2048
"""So many at most are kept to measure the distance to: 16 MiB where an embedding has 2,048."""
NEARLY_LARGEST = 0.99 * LARGEST
"""Above it a temperature stands at the end of where it is looked for."""


@dataclass(frozen=True)
class Held:
    """What the network says of N labelled examples that it did not learn from."""

    examples: pd.DataFrame
    logits: np.ndarray
    embedding: np.ndarray
    class_index: np.ndarray
    group_index: np.ndarray


def calibrate_run(
    run: Run | str | Path,
    dataset: str | Path | None = None,
    *,
    split: str | None = None,
    group_by: str | None = None,
    per: str | None = None,
    coverage: float = COVERAGE,
    views: int = 1,
    batch: int = 64,
    command: str | None = None,
    progress: ProgressCallback | None = None,
    warn: Warn | None = None,
) -> Path:
    """Calibrate a run and write calibration.json and calibration.npz into it; returns the first.

    dataset: labelled examples that training did not see; by default the dataset of the training.
    split: of it; by default `calibration`, else `validation`, and everything of another dataset.
    group_by: the column whose values are independent of each other, by default `group`.
    per: a column, such as the cell line, whose values get thresholds of their own. coverage: how
    often the true class is to be in the prediction set, 0..1 (exclusive). views: as in `predict`,
    which then takes as many.

    `warn` (by default a UserWarning) tells what the examples do not suffice for. Raises InputError
    where no example has a label, they are those of the training split, or the dataset of the
    training is gone; PlanError where a column is not there; RunError and DatasetError on damage.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    tell = warn or python_warning
    check_views(views, run.recipe.input.size_px)
    if not 0 < coverage < 1:
        raise InputError(f"coverage {coverage:g}: expected a share between 0 and 1, such as 0.9")
    trained_on = _training_input(run, tell)
    given = trained_on if dataset is None else _other_input(run, Path(dataset), tell)
    split = split or _split_of(given, tell)
    examples = _labelled(given, split)
    group_column, groups = _groups(examples, group_by)
    if per is not None:
        check_column(per, list(examples.columns), "thresholds per")
    said = _said(given, split, batch, views, progress)
    held = _held(run, examples, groups, said)
    reference = joined(list(answers(trained_on, "train", batch, views, TRAINING_EXAMPLES)))
    found = fit_calibration(
        run.classes,
        held.logits,
        held.embedding,
        held.class_index,
        held.group_index,
        reference.embedding,
        coverage=coverage,
        per=per,
        values=None if per is None else held.examples[per].tolist(),
    )
    seen = int(examples["image_sha256"].isin(learnt(run, ("train",)) or ()).sum())
    about = {
        **_quality(found, held),
        "classes": _by_class(run.classes, held),
        "dataset": str(given.dataset.folder.resolve()),
        "fingerprint": given.dataset.fingerprint,
        "split": given.split(split),
        "group_column": group_column,
        "examples": len(held.class_index),
        "groups": len(np.unique(held.group_index)),
        "seen_in_training": seen,
        "training_examples": len(reference.rows),
        "views": views,
        "network_sha256": file_hash(run.network_path),
        "deadlib": __version__,
        "command": command,
    }
    for sentence in doubts(coverage, found.temperature, about):
        tell(sentence)
    return replace(found, about=about).save(run.folder)


def doubts(coverage: float, temperature: float, about: dict[str, Any]) -> list[str]:
    """What the examples of a calibration did not suffice for, in sentences."""
    found = []
    least = fewest_groups(coverage)
    for name, counts in about["classes"].items():
        if counts["groups"] < least:
            found.append(
                f"class {name}: {counts['groups']} groups ({about['group_column']}), and a promise "
                f"of {coverage:g} takes {least}: it is in every prediction set; calibrate with "
                "more groups, or with a lower --coverage (finer groups, as of --group-by, would "
                "promise it for those alone, within these groups)"
            )
    if about["error_rate"] == 0:
        found.append(
            f"all {about['examples']} answers are right, so nothing shows how sure is too sure: "
            "the temperature stays 1; calibrate with more examples"
        )
    if temperature > NEARLY_LARGEST:
        found.append(
            "no temperature makes these answers better than guessing: the network cannot tell the "
            "classes of these images, and calibrated probabilities will all be nearly alike; train "
            "a better model first"
        )
    if about["seen_in_training"]:
        found.append(
            f"{about['seen_in_training']} of the images also stand in the training split: the "
            "network is surer of them than of new ones, and will seem surer than it is"
        )
    return found


def _training_input(run: Run, tell: Warn) -> RunInput:
    path = run.dataset["path"]
    why = "distances are measured to images that the network learnt from"
    try:
        given = open_input(run, path, Path(path), warn=tell)
    except ToolsError as error:
        raise InputError(
            f"{run.folder}: the dataset of its training cannot be opened ({error}); {why}: put it "
            "back in its place"
        ) from None
    if not given.is_training_dataset:
        raise InputError(
            f"{path}: is not the dataset any more that the run {run.folder} was trained on; {why}: "
            "put that one back in its place"
        )
    return given


def _other_input(run: Run, folder: Path, tell: Warn) -> RunInput:
    open_dataset(folder)  # a folder of images would be converted into the dataset
    return open_input(run, folder, folder, warn=tell)


def _split_of(given: RunInput, tell: Warn) -> str:
    if not given.is_training_dataset:
        return ALL
    found = next((name for name in SPLITS if name in given.dataset.splits), None)
    if found is None:
        raise InputError(
            f"{given.dataset.folder}: has no split {' or '.join(SPLITS)} to calibrate on; set one "
            "apart with split.calibration in the recipe, or give another labelled dataset"
        )
    if found != SPLITS[0]:
        tell(
            f"calibrating on split {found}, by which training also chose the weights that it kept: "
            "probabilities may stay a little too sure; a split set apart for it (split.calibration "
            "in the recipe) has no such doubt"
        )
    return found


def _labelled(given: RunInput, split: str) -> pd.DataFrame:
    """The labelled examples of a split, indexed by row number."""
    if given.is_training_dataset and split in ("train", ALL):
        raise InputError(
            f"{given.run.folder}: split {split} of its dataset holds what the network learnt from, "
            "of which it is surer than of anything new; calibrate on another split or dataset"
        )
    examples = given.examples(split)
    labelled = examples[examples["label"].notna()]
    if labelled.empty:
        raise InputError(
            f"{given.dataset.folder}: no example of split {given.split(split)} has a label, and "
            "calibration compares probabilities with labels; give a labelled dataset or split"
        )
    return labelled


def _groups(examples: pd.DataFrame, group_by: str | None) -> tuple[str, np.ndarray]:
    """What a group is called, and the name of each example's."""
    if group_by is None and examples["group"].notna().all():
        return "group", examples["group"].to_numpy(str)
    columns = group_columns((group_by,) if group_by else (), list(examples.columns))
    return unit_name(columns), group_names(examples, columns).to_numpy(str)


def _said(
    given: RunInput, split: str, batch: int, views: int, progress: ProgressCallback | None
) -> Answers:
    rows = given.examples(split).index.to_numpy()
    found = complete(answers(given, split, batch, views), rows, given)
    return joined(list(reported(found, len(rows), progress)))


def _held(run: Run, examples: pd.DataFrame, groups: np.ndarray, said: Answers) -> Held:
    """The answers for the labelled examples, in the order of these."""
    place = np.argsort(said.rows)[np.searchsorted(np.sort(said.rows), examples.index.to_numpy())]
    index = {name: k for k, name in enumerate(run.classes)}
    return Held(
        examples=examples,
        logits=said.logits[place],
        embedding=said.embedding[place],
        class_index=examples["label"].map(index).to_numpy(int),
        group_index=np.unique(groups, return_inverse=True)[1],
    )


def _quality(found: Calibration, held: Held) -> dict[str, Any]:
    """How good the probabilities are before and after, each group weighing the same."""
    weights = group_weights(held.group_index)
    raw, own = softmax(held.logits), found.probabilities(held.logits)
    wrong = held.logits.argmax(axis=1) != held.class_index
    return {
        "error_rate": float(weights @ wrong),
        **{
            name: {
                when: METRICS[name].function(held.class_index, probabilities, weights)
                for when, probabilities in (("before", raw), ("after", own))
            }
            for name in ("loss", "calibration_error")
        },
    }


def _by_class(classes: list[str], held: Held) -> dict[str, dict[str, int]]:
    counts = np.bincount(held.class_index, minlength=len(classes))
    groups = groups_of_classes(held.class_index, held.group_index, len(classes))
    return {
        name: {"examples": int(examples), "groups": of}
        for name, examples, of in zip(classes, counts, groups, strict=True)
    }
