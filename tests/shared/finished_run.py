"""Small datasets, and finished runs on them, made in a second: the network's weights are random.

What is done with a run after training does not depend on how good it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imagecodecs
import keras
import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

from deadlib import runs
from deadlib.data.preprocess import Preprocess, fit_size, preprocess_for
from deadlib.models import build_network, embedding_network
from deadlib.recipe import InputSection, parse_recipe
from deadlib.runs import Run
from tfrecords_tools import ConversionSettings, convert
from tfrecords_tools.card import data_card
from tfrecords_tools.dataset import Dataset

CLASSES = ("dead", "living")


def write_images(
    folder: Path,
    *,
    count: int = 12,
    shape: tuple[int, int] = (24, 30),
    channels: int = 1,
    dtype: Any = np.uint16,
    first_channel: int = 0,
    seed: int = 0,
) -> Path:
    """`count` images of each class below `folder`: dead ones have a bright spot.

    With another `first_channel` the same images, their channels turned so that this one is first.
    """
    generator = np.random.default_rng(seed)
    for label in CLASSES:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = gaussian_filter(generator.random((*shape, channels)), (1, 1, 0))
            if label == "dead":
                top, left = (generator.integers(4, side - 8) for side in shape)
                image[top : top + 5, left : left + 5] += 0.5
            image = (image / 1.6 * np.iinfo(dtype).max).astype(dtype)
            image = np.roll(image, -first_channel, axis=-1)
            _write_image(folder / label / f"{label}{number:02}", image)
    return folder


def _write_image(stem: Path, image: np.ndarray) -> None:
    """A PNG where it can hold the channels, otherwise a TIFF."""
    if image.shape[-1] in (1, 3):
        pixels = image[..., 0] if image.shape[-1] == 1 else image
        stem.with_suffix(".png").write_bytes(imagecodecs.png_encode(pixels))
    else:
        planes = np.moveaxis(image, -1, 0)
        options = {"photometric": "minisblack", "metadata": {"axes": "CYX"}}
        tifffile.imwrite(stem.with_suffix(".tif"), planes, **options)


def make_dataset(
    folder: Path, settings: ConversionSettings | None = None, **images: Any
) -> Dataset:
    """A dataset in `folder`/dataset of `write_images` in `folder`/images."""
    settings = settings or ConversionSettings(fractions=(0.5, 0.25, 0.25))
    return convert(write_images(folder / "images", **images), folder / "dataset", settings)


def make_run(folder: Path, dataset: Dataset, input: dict[str, Any] | None = None) -> Run:
    """A finished run of a small_cnn with seeded random weights on `dataset`."""
    recipe = parse_recipe(
        {
            "dataset": str(dataset.folder),
            "model": {"name": "small_cnn", "width": 4, "blocks": 2},
            "input": {"size_px": [16, 16], **(input or {})},
        }
    )
    runs.start(folder, recipe)
    channels = len(dataset.channels)
    described = {
        "path": str(dataset.folder.resolve()),
        "fingerprint": dataset.fingerprint,
        "name": dataset.name,
        "classes": dataset.classes,
        "channels": dataset.channels,
        "settings": dataset.info["settings"],
        "split": dataset.info["split"],
        "card": data_card(dataset),
        "pixel_size_um": dataset.pixel_size_um,
        "modality": dataset.modality,
        "statistics": {"mean": [0.4] * channels, "deviation": [0.1] * channels},
        "image_shape": None,
    }
    (folder / runs.DATASET).write_text(json.dumps(described))
    (folder / runs.VERSIONS).write_text(
        json.dumps({"keras": keras.__version__, "command": "by hand"})
    )
    (folder / runs.HISTORY).write_text("epoch,loss,validation_loss\n1,0.7,0.71\n2,0.5,\n")
    keras.utils.set_random_seed(3)
    network = build_network(
        recipe.model,
        size_px=recipe.input.size_px,
        channels=channels,
        classes=len(dataset.classes),
    )
    _balance(network, dataset, recipe.input, preprocess_for(recipe.input, described))
    network.save(folder / runs.MODEL)
    return Run.open(folder)


def _balance(
    network: keras.Model, dataset: Dataset, section: InputSection, preprocess: Preprocess
) -> None:
    """Give the head random weights that divide the dataset's own images among the classes."""
    stored = np.stack([dataset.read_example(row) for row in range(len(dataset.manifest))])
    unit = (stored / np.iinfo(stored.dtype).max).astype(np.float32)
    fitted = np.stack([np.asarray(fit_size(image, section)) for image in unit])
    embedding = embedding_network(network).predict(np.asarray(preprocess(fitted)), verbose=0)[1]
    head = network.get_layer("logits")
    kernel = (
        np.random.default_rng(0).normal(size=head.kernel.shape) / embedding.std(axis=0)[:, None]
    )
    head.set_weights([kernel, -embedding.mean(axis=0) @ kernel])
