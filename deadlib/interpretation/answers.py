"""What the network answers about examples: what it predicts, and where it looked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd

from deadlib.inputs import RunInput
from deadlib.interpretation.examples import LABEL, PREDICTED, as_seen
from deadlib.interpretation.folder import file_stem
from deadlib.interpretation.heat import border_share, half_heat_area, place, seen_window
from deadlib.interpretation.question import Question

BATCH = 16


@dataclass(frozen=True)
class Explained:
    """One line of maps.csv."""

    file: str
    example_id: str
    split: str
    label: str | None
    predicted: str
    probability: float
    """Of the predicted class."""
    target: str
    """The class whose evidence is drawn."""
    target_probability: float
    strongest: float
    """The largest evidence at one place, in units of the score; 0: nothing speaks for the class."""
    border_share: float
    half_heat_area: float
    """Both of the window that the network saw."""
    method: str
    weights: str
    layer: str


@dataclass(frozen=True)
class Answer:
    """One example: the line on it, the stored image (H, W, C), and its heat (H, W) float32."""

    line: Explained
    image: np.ndarray
    heat: np.ndarray


def answers(
    given: RunInput, question: Question, examples: pd.DataFrame, target: str
) -> Iterator[Answer]:
    """The answers about manifest rows, in their order. target: as of `explain`."""
    for start in range(0, len(examples), BATCH):
        yield from _batch(given, question, examples.iloc[start : start + BATCH], target, start)


def _batch(
    given: RunInput, question: Question, examples: pd.DataFrame, target: str, start: int
) -> Iterator[Answer]:
    run, section = given.run, given.run.recipe.input
    stored = [given.image(int(row)) for row in examples.index]
    seen = as_seen(given, stored, examples.index.to_numpy())
    probabilities = np.asarray(keras.ops.softmax(question.network.predict_on_batch(seen)))
    predicted = [run.classes[index] for index in probabilities.argmax(axis=1)]
    labels = [label if isinstance(label, str) else None for label in examples["label"]]
    asked = {PREDICTED: predicted, LABEL: labels}.get(target, [target] * len(stored))
    targets = [run.classes.index(str(name)) for name in asked]
    heat = question.heat(seen, targets)
    for i, (_, example) in enumerate(examples.iterrows()):
        shape = stored[i].shape[:2]
        placed = place(heat[i], shape, section)
        top, left, rows, columns = seen_window(shape, section)
        window = placed[top : top + rows, left : left + columns]
        line = Explained(
            file=f"{file_stem(start + i + 1, example['example_id'])}.png",
            example_id=example["example_id"],
            split=example["split"],
            label=labels[i],
            predicted=predicted[i],
            probability=float(probabilities[i].max()),
            target=run.classes[targets[i]],
            target_probability=float(probabilities[i, targets[i]]),
            strongest=float(heat[i].max()),
            border_share=border_share(window),
            half_heat_area=half_heat_area(window),
            method=question.method,
            weights=question.weights,
            layer=question.layer,
        )
        yield Answer(line, stored[i], placed)
