"""What TensorBoard shows of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

SHOWN_EXAMPLES = 16

TAGS = {
    "train_loss": "loss/train",
    "train_metric_loss": "loss/metric loss, weighted",
    "validation_example_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "validation_example_accuracy": "accuracy/validation",
    "learning_rate": "learning rate",
    "images_per_second": "speed/images per second",
    "input_wait_share": "speed/share of time waiting for input",
}
METRIC_PREFIX = "validation_"


class Board:
    """Writes the event files of one run, by training step."""

    def __init__(self, folder: Path) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))

    def write_recipe(self, text: str) -> None:
        """The recipe as resolved."""
        fenced = "\n".join(f"    {line}" for line in text.splitlines())
        with self._writer.as_default(step=0):
            tf.summary.text("recipe", fenced)

    def write_round(
        self, row: Mapping[str, float], confusion: np.ndarray, classes: Sequence[str]
    ) -> None:
        """The numbers of a history row, and the confusion of the validation split (K, K)."""
        with self._writer.as_default(step=int(row["steps"])):
            for name, value in row.items():
                if name in TAGS:
                    tf.summary.scalar(TAGS[name], value)
                elif name.startswith(METRIC_PREFIX):
                    metric = name.removeprefix(METRIC_PREFIX).replace("_", " ")
                    tf.summary.scalar(f"validation groups/{metric}", value)
            tf.summary.image("validation confusion", confusion_image(confusion, classes)[None])
        self._writer.flush()

    def write_batch(self, images: np.ndarray, step: int) -> None:
        """Training examples (B, H, W, C) as the network gets them, after augmentation."""
        with self._writer.as_default(step=step):
            tf.summary.image("training batch, augmented", image_grid(images)[None])

    def close(self) -> None:
        self._writer.close()


def image_grid(images: np.ndarray) -> np.ndarray:
    """Up to 16 images (B, H, W, C) as one picture (h, w, 1 or 3) uint8.

    Each is stretched between its own 1st and 99th percentile. Three channels are shown as RGB, any
    other number side by side in grey.
    """
    shown = images[:SHOWN_EXAMPLES]
    tiles = [_stretched(image) for image in shown]
    if images.shape[-1] != 3:
        tiles = [np.concatenate(np.moveaxis(tile, -1, 0), axis=1)[..., None] for tile in tiles]
    across = int(np.ceil(np.sqrt(len(tiles))))
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % across)
    rows = [np.concatenate(tiles[at : at + across], axis=1) for at in range(0, len(tiles), across)]
    return np.concatenate(rows, axis=0)


def confusion_image(counts: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """A confusion matrix (K, K), rows true, drawn as (h, w, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = 2.4 + 0.55 * len(classes)
    figure = Figure(figsize=(size, size), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (true, predicted), count in np.ndenumerate(counts):
        colour = "white" if shares[true, predicted] > 0.5 else "black"
        axes.text(predicted, true, str(count), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _stretched(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, (1, 99), axis=(0, 1))
    unit = (image - low) / np.maximum(high - low, 1e-6)
    return (np.clip(unit, 0, 1) * 255).astype(np.uint8)
