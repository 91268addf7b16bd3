"""All controls of one table of predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deadlib.bootstrap import Resampling
from deadlib.controls.control import (
    Answer,
    Question,
    answer_of_probe,
    answer_of_scores,
)
from deadlib.controls.images import BACKGROUND, CELL_COUNT, INTENSITY, SHARPNESS
from deadlib.controls.position import one_hot, place_on_plate
from tfrecords_tools.split import as_text

Indices = NDArray[np.intp]
Floats = NDArray[np.floating]

MODEL = "model"
BATCH = "batch"
POSITION = "position"
PERMUTATIONS = 499
BATCH_COLUMNS = ("experiment", "plate")
"""What is prepared and imaged together, from coarse to fine."""
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)

Tick = Callable[[], None]


@dataclass(frozen=True)
class Control:
    """What can be told from one thing alone.

    key: model, intensity, sharpness, background, cell_count, batch, position; for a probe of the
    embedding the column that it tells. features: how many numbers it sees. answer is None where it
    could not be measured, and `missing` says why.
    """

    key: str
    features: int = 0
    answer: Answer | None = None
    missing: str = ""

    @property
    def verdict(self) -> str:
        return "unmeasured" if self.answer is None else self.answer.verdict

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"key": self.key, "features": self.features}
        if self.answer is None:
            return told | {"verdict": "unmeasured", "reason": self.missing}
        return told | self.answer.to_json()


@dataclass(frozen=True)
class Examples:
    """What is examined: N examples with their labels, and what is known of them.

    frame: metadata; class_index (N,); group_index (N,); probabilities (N, K); embedding (N, D) or
    None; images: family -> (N, D) from `images.measure`, or what is missing in `no_images`.
    """

    frame: pd.DataFrame
    class_index: Indices
    group_index: Indices
    probabilities: Floats
    embedding: Floats | None = None
    images: Mapping[str, Floats] = field(default_factory=dict)
    no_images: str = ""


@dataclass(frozen=True)
class Battery:
    """batch: the column within which pairs were compared; None where there is none. probes: what
    the embedding tells of the columns in BATCH_COLUMNS."""

    batch: str | None
    model: Control
    controls: list[Control]
    probes: list[Control]
    permutations: int

    def to_json(self) -> dict[str, Any]:
        return {
            "batch_column": self.batch,
            "permutations": self.permutations,
            "model": self.model.to_json(),
            "controls": [control.to_json() for control in self.controls],
            "probes": [probe.to_json() for probe in self.probes],
        }


def run_battery(
    examples: Examples,
    resampling: Resampling,
    *,
    permutations: int = PERMUTATIONS,
    on_control: Tick | None = None,
) -> Battery:
    """Every control that the examples allow; at least two classes must occur."""
    tick = on_control or (lambda: None)
    batches = batch_indices(examples.frame)
    batch = _comparable(batches, examples.class_index)
    question = Question.of(
        examples.frame,
        examples.class_index,
        examples.group_index,
        None if batch is None else batches[batch],
    )

    def probe(key: str, features: Floats | None, asked: Question, missing: str) -> Control:
        found = Control(key, missing=missing)
        if features is not None and features.shape[1] and not missing:
            answer = answer_of_probe(features, asked, resampling, permutations)
            found = Control(key, features.shape[1], answer)
        tick()
        return found

    def label(key: str, features: Floats | None, missing: str) -> Control:
        return probe(key, features, question, missing if features is None else "")

    there = np.unique(examples.class_index)
    scores = np.log(np.maximum(examples.probabilities[:, there], SMALLEST_PROBABILITY))
    if len(there) == 2:
        scores = scores - scores[:, ::-1]
    model = Control(MODEL, answer=answer_of_scores(scores, question, resampling, permutations))
    tick()
    controls = [
        label(family, examples.images.get(family), examples.no_images)
        for family in (INTENSITY, SHARPNESS, BACKGROUND, CELL_COUNT)
    ]
    known = next(reversed(batches), None)
    unknown = "the table has no column experiment or plate with several values"
    if known is not None:
        unknown = _unteachable(known, batches[known], examples.group_index)
    names = None if known is None or unknown else one_hot(pd.Series(batches[known]))
    controls.append(label(BATCH, names, unknown))
    controls.append(
        label(
            POSITION,
            place_on_plate(examples.frame),
            "the table has no column well such as B03, nor row and column",
        )
    )
    probes = [
        probe(
            column,
            examples.embedding,
            Question.of(examples.frame, index, examples.group_index, examples.class_index),
            "the table has no column embedding"
            if examples.embedding is None
            else _unteachable(column, index, examples.group_index),
        )
        for column, index in batches.items()
    ]
    return Battery(batch, model, controls, probes, permutations)


def batch_indices(frame: pd.DataFrame) -> dict[str, Indices]:
    """Experiment and plate of each example as indices (N,), where there are several; plate 1 of two
    experiments is two plates. A column that divides as the coarser one does is left out."""
    found: dict[str, Indices] = {}
    names: pd.Series | None = None
    for column in BATCH_COLUMNS:
        if column not in frame or frame[column].isna().all():
            continue
        text = frame[column].map(as_text).fillna("").astype(str)
        names = text if names is None else names + "/" + text
        codes = np.unique(names.to_numpy(str), return_inverse=True)[1].astype(np.intp)
        if codes.max() > 0 and not any(np.array_equal(codes, other) for other in found.values()):
            found[column] = codes
    return found


def _unteachable(column: str, batch: Indices, groups: Indices) -> str:
    """Why groups cannot teach each other to know a batch: none of which is in two; else empty."""
    pairs = np.unique(np.stack([batch, groups]), axis=1)
    if pairs.shape[1] > int(batch.max()) + 1:
        return ""
    return (
        f"every {column} lies in one group here, so no other group can teach what it looks like; "
        "--group-by well asks it of wells"
    )


def _comparable(batches: dict[str, Indices], class_index: Indices) -> str | None:
    """The finest column with values that hold several classes; else the finest there is."""
    for column in reversed(batches):
        index = batches[column]
        if _mixed(index, class_index):
            return column
    return next(reversed(batches), None)


def _mixed(index: Indices, class_index: Indices) -> bool:
    return len(np.unique(np.stack([index, class_index]), axis=1).T) > int(index.max()) + 1
