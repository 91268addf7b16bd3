"""Images of all plates brought to one scale, by statistics that each plate has of its own.

With `input.normalise: plate` or `plate_robust` an image is moved, per channel, from the centre and
scale of its plate to those of the training plates,

    x' = (x - centre) / scale x reference scale + reference centre,

and `Preprocess` then subtracts the reference centre and divides by the reference scale, so that the
network gets (x - centre) / scale. In between, augmentation sees intensities of the usual range,
whatever the plate. With `input.illumination` the image is first divided by its plate's field.

The statistics come from the dataset that the images stand in (`intensity.parquet`): of a plate with
training examples from these alone, of any other without labels from its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deadlib.errors import RecipeError
from deadlib.recipe import InputSection
from tfrecords_tools.dataset import Dataset
from tfrecords_tools.illumination import COEFFICIENTS
from tfrecords_tools.intensity import plate_names, read_intensity

if TYPE_CHECKING:
    import pandas as pd
    import tensorflow as tf

PLATE = ("plate", "plate_robust")
"""The ways of input.normalise that compare an image with its plate."""

SMALLEST_SCALE = 1e-6
"""As `preprocess.SMALLEST_DEVIATION`: a plate without contrast is moved, not blown up."""

SMALLEST_SHADING = 0.1
"""A fitted field that falls below this is no shading, and is not divided by."""

# Between these percentiles of a normal distribution lie 4.653 standard deviations.
_DEVIATIONS_1_TO_99 = 4.6527


@dataclass(frozen=True)
class Correction:
    """What is done to the images of a dataset, looked up by their row in the manifest.

    key: (rows,) int32, the entry of each row in the arrays below. centre, scale: (entries, C)
    float32 in unit range. reference_centre, reference_scale: (C,) float32. fields: (entries, C, 5,
    5) float32 or None. places: (rows, 4) float32 or None, where a row's window lies in its source
    image, which runs from -1 to 1: top, height, left, width.
    """

    key: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    reference_centre: np.ndarray
    reference_scale: np.ndarray
    fields: np.ndarray | None
    places: np.ndarray | None

    def __call__(self, images: Any, row: Any) -> tf.Tensor:
        """Graph op: images (B, H, W, C) float32 in unit range and their rows (B,) → corrected."""
        import tensorflow as tf

        key = tf.gather(self.key, row)
        return moved(
            self.flattened(images, row),
            tf.gather(self.centre, key),
            tf.gather(self.scale, key),
            self.reference_centre,
            self.reference_scale,
        )

    def flattened(self, images: Any, row: Any) -> tf.Tensor:
        """Graph op: the images without the shading of their plates."""
        import tensorflow as tf

        if self.fields is None or self.places is None:
            return tf.convert_to_tensor(images)
        fields, places = tf.gather(self.fields, tf.gather(self.key, row)), self.places
        return images / field_over(fields, tf.gather(places, row), tf.shape(images))


def correction_for(
    dataset: Dataset, section: InputSection, described: Mapping[str, Any]
) -> Correction | None:
    """The correction that a run's recipe asks of a dataset; None where it asks for none.

    `described` is the run's dataset.json: its statistics say what plates are moved to, its channels
    in which order those of the images stand. Raises as `check_plates`.
    """
    if section.normalise not in PLATE and not section.illumination:
        return None
    check_plates(dataset, section)
    channels = list(described.get("channels", dataset.channels))
    table = scaled(read_intensity(dataset), section.normalise)
    wide = table.pivot(index=["plate", "split"], columns="channel")
    number = {key: number for number, key in enumerate(wide.index)}
    pairs = zip(plate_names(dataset.manifest), dataset.manifest["split"], strict=True)
    centre, scale = (wide[name][channels].to_numpy(np.float32) for name in ("centre", "scale"))
    reference = described.get("statistics") or {}
    if section.normalise not in PLATE:
        centre, scale = np.zeros_like(centre), np.ones_like(scale)
        reference = {"mean": centre[0], "deviation": scale[0]}
    return Correction(
        # what a view leaves out has no split, and is never read
        key=np.array([number.get(pair, 0) for pair in pairs], np.int32),
        centre=centre,
        scale=scale,
        reference_centre=np.asarray(reference["mean"], np.float32),
        reference_scale=np.asarray(reference["deviation"], np.float32),
        fields=_fields(wide, channels) if section.illumination else None,
        places=_places(dataset) if section.illumination else None,
    )


def moved(
    images: tf.Tensor, centre: Any, scale: Any, reference_centre: Any, reference_scale: Any
) -> tf.Tensor:
    """Graph op: images (B, ..., H, W, C) from the centre and scale of their plates, (B, C) each, to
    those of the training plates, (C,) each."""
    gain = reference_scale / scale
    offset = reference_centre - centre * gain
    spread = (slice(None), *[None] * (len(images.shape) - 2))
    return images * gain[spread] + offset[spread]


def reference_statistics(dataset: Dataset, section: InputSection) -> dict[str, list[float]]:
    """What plates are moved to: centre (`mean`) and scale (`deviation`) of each channel, each the
    mean over the plates that have training examples. For the run's dataset.json."""
    table = scaled(read_intensity(dataset), section.normalise)
    found = table[table["split"] == "train"].groupby("channel")[["centre", "scale"]].mean()
    found = found.loc[dataset.channels]
    return {"mean": found["centre"].tolist(), "deviation": found["scale"].tolist()}


def scaled(table: pd.DataFrame, normalise: str) -> pd.DataFrame:
    """The table of intensities with `centre` and `scale` in unit range.

    `plate_robust`: the median, and the way from the 1st to the 99th percentile in deviations of a
    normal distribution; otherwise mean and deviation. The quartiles would not do for a scale: in
    an image of few cells they measure the noise of the background.
    """
    centre, scale = table["mean"], table["deviation"]
    if normalise == "plate_robust":
        centre = table["percentile_50"]
        scale = (table["percentile_99"] - table["percentile_1"]) / _DEVIATIONS_1_TO_99
    return table.assign(centre=centre, scale=scale.clip(lower=SMALLEST_SCALE))


def check_plates(dataset: Dataset, section: InputSection) -> None:
    """Raise DatasetError or RecipeError where a dataset lacks what `section` asks of it."""
    if section.normalise not in PLATE and not section.illumination:
        return
    table = read_intensity(dataset)
    if section.illumination and table["illumination"].isna().any():
        raise RecipeError(
            f"input.illumination: {dataset.folder} has no fitted illumination; convert its images "
            "again with --illumination"
        )


def field_over(coefficients: tf.Tensor, place: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Graph op: the fields (B, H, W, C) over windows, read at the centres of their pixels.

    coefficients: (B, C, 5, 5); place: (B, 4) top, height, left, width; shape: (B, H, W, C). Where
    a window reaches outside its image the field is mirrored, as the image is.
    """
    import tensorflow as tf

    rows = _polynomials(place[:, 0], place[:, 1], shape[1])
    columns = _polynomials(place[:, 2], place[:, 3], shape[2])
    found = tf.einsum("bhi,bcij,bwj->bhwc", rows, coefficients, columns)
    return tf.maximum(found, SMALLEST_SHADING)


def _polynomials(first: tf.Tensor, length: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Legendre polynomials 0 to 4 at the centres of `count` pixels: (B, count, 5)."""
    import tensorflow as tf

    share = (tf.range(tf.cast(count, tf.float32)) + 0.5) / tf.cast(count, tf.float32)
    place = first[:, None] + length[:, None] * share
    place = 1.0 - tf.abs(tf.math.floormod(place + 1.0, 4.0) - 2.0)
    found = [tf.ones_like(place), place]
    for degree in range(1, COEFFICIENTS[0] - 1):
        found.append(((2 * degree + 1) * place * found[-1] - degree * found[-2]) / (degree + 1))
    return tf.stack(found, axis=-1)


def _fields(wide: pd.DataFrame, channels: Sequence[str]) -> np.ndarray:
    lists = wide["illumination"][list(channels)].to_numpy()
    flat = np.array([[np.asarray(field) for field in row] for row in lists], np.float32)
    return flat.reshape(*flat.shape[:2], *COEFFICIENTS)


def _places(dataset: Dataset) -> np.ndarray:
    """Where each example lies in its source image, which runs from -1 to 1 both ways."""
    size = dataset.info["sizes"][0]
    window = dataset.manifest
    places = []
    for side, start, length in (
        (size["height_px"], "top_px", "height_px"),
        (size["width_px"], "left_px", "width_px"),
    ):
        places += [2 * window[start] / side - 1, 2 * window[length] / side]
    return np.stack(places, axis=1).astype(np.float32)
