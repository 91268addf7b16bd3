"""The images behind the figures: the worst errors and the least certain answers, as pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deadlib.evaluation.assess import Evaluation
from deadlib.evaluation.parts import as_text
from deadlib.evaluation.table import Predictions
from deadlib.pages import Section, fragment
from tfrecords_tools.errors import ToolsError

if TYPE_CHECKING:
    from tfrecords_tools import Dataset

WORST = 24
UNCERTAIN = 12
LONGEST_SIDE_PX = 192
# display only: the darkest and the brightest pixels do not decide the contrast
DISPLAY_PERCENTILES = (0.5, 99.7)
# blue, orange, green and purple of the Okabe-Ito palette stay apart for colour-blind readers
CHANNEL_COLOURS = ((0.0, 0.45, 0.7), (0.9, 0.6, 0.0), (0.0, 0.62, 0.45), (0.8, 0.47, 0.65))
CAPTION_COLUMNS = ("experiment", "plate", "well", "cell_line", "treatment", "time_hours")


@dataclass(frozen=True)
class Answer:
    """One example with what the model said; picture is a data URI, or None without dataset."""

    example_id: str
    label: str
    predicted: str
    probability: float
    label_probability: float
    details: str
    picture: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "example_id": self.example_id,
            "label": self.label,
            "predicted": self.predicted,
            "probability": self.probability,
            "label_probability": self.label_probability,
        }


@dataclass(frozen=True)
class Pictures:
    """Where pictures come from: an open dataset and its rows by example_id; or what is missing."""

    dataset: Dataset | None
    rows: Mapping[str, int]
    missing: str | None

    def of(self, example_id: str) -> str | None:
        """The picture of an example as a data URI."""
        if self.dataset is None or example_id not in self.rows:
            return None
        return data_uri(display(self.dataset.read_example(self.rows[example_id])))


def errors(evaluation: Evaluation) -> Section | None:
    """The section that shows them; None where no probability says which is worst."""
    table = evaluation.predictions
    if table.calls_only:
        return None
    pictures = find_pictures(table, evaluation.dataset)
    worst, uncertain = (
        [answer(table, int(row), pictures) for row in rows]
        for rows in (worst_errors(table), least_certain(table))
    )
    html = fragment(
        "deadlib.evaluation", "errors.html", (), worst=worst, uncertain=uncertain, pictures=pictures
    )
    numbers = {
        "worst": [one.to_json() for one in worst],
        "least_certain": [one.to_json() for one in uncertain],
    }
    return Section("errors", "Worst errors", html, numbers)


def find_pictures(predictions: Predictions, dataset: Path | None) -> Pictures:
    """Open the dataset that was asked for, or the one that the table names if it is still the same.

    What keeps pictures away is no error: the report says what is missing.
    """
    told = predictions.metadata.get("dataset")
    folder = dataset or (Path(told) if told else None)
    if "example_id" not in predictions.frame:
        return Pictures(None, {}, "the table has no column example_id")
    if folder is None:
        return Pictures(None, {}, "the table names no dataset; give it with --dataset")
    from tfrecords_tools import open_dataset

    try:
        found = open_dataset(folder)
    except ToolsError as error:
        return Pictures(None, {}, f"the dataset cannot be opened ({error})")
    expected = predictions.metadata.get("fingerprint")
    if expected is not None and found.fingerprint != expected:
        return Pictures(
            None, {}, f"{folder} is not the dataset of these predictions (its fingerprint differs)"
        )
    rows = {str(name): row for row, name in enumerate(found.manifest["example_id"])}
    if not predictions.frame["example_id"].astype(str).isin(rows).any():
        return Pictures(None, {}, f"{folder} holds none of these examples")
    return Pictures(found, rows, None)


def worst_errors(predictions: Predictions) -> NDArray[np.intp]:
    """Rows of the wrong answers, the most confident first."""
    confidence = predictions.probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions.predicted_index != predictions.class_index)
    return wrong[np.argsort(-confidence[wrong], kind="stable")][:WORST]


def least_certain(predictions: Predictions) -> NDArray[np.intp]:
    """Rows whose two most probable classes lie closest together, right or wrong."""
    two = np.sort(predictions.probabilities, axis=1)[:, -2:]
    return np.argsort(two[:, 1] - two[:, 0], kind="stable")[:UNCERTAIN]


def answer(predictions: Predictions, row: int, pictures: Pictures) -> Answer:
    """What the model said of one row."""
    frame, probabilities = predictions.frame.iloc[row], predictions.probabilities[row]
    true, predicted = predictions.class_index[row], predictions.predicted_index[row]
    name = frame.get("example_id", frame.get("source_id"))
    details = [
        f"{column} {as_text(frame[column])}"
        for column in CAPTION_COLUMNS
        if column in frame and not _missing(frame[column])
    ]
    return Answer(
        example_id=f"row {row + 1}" if _missing(name) else str(name),
        label=predictions.classes[true],
        predicted=predictions.classes[predicted],
        probability=float(probabilities[predicted]),
        label_probability=float(probabilities[true]),
        details=", ".join(details),
        picture=None if _missing(name) else pictures.of(str(name)),
    )


def display(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image (H, W, C) of any type as RGB or grey uint8, each channel stretched for display.

    8-bit colour stays as it is; two channels or four and more are laid over each other in colours.
    """
    if image.shape[-1] == 3 and image.dtype == np.uint8:
        return np.asarray(image, np.uint8)
    stretched = np.stack([_stretch(image[..., c]) for c in range(image.shape[-1])], axis=-1)
    if image.shape[-1] in (1, 3):
        shown = stretched
    else:
        colours = np.array([CHANNEL_COLOURS[c % 4] for c in range(image.shape[-1])])
        shown = np.clip(stretched @ colours, 0, 1)
    return np.asarray(np.round(shown * 255), np.uint8)


def data_uri(image: NDArray[np.uint8]) -> str:
    """A PNG, at most 192 px long, inside the page."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _stretch(channel: NDArray[Any]) -> NDArray[np.float64]:
    low, high = np.percentile(channel, DISPLAY_PERCENTILES)
    return np.clip((channel.astype(np.float64) - low) / max(high - low, 1e-9), 0, 1)


def _missing(value: Any) -> bool:
    return value is None or value != value
