"""Images are brought to one scale by what their own plate was measured to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.polynomial import legendre

from deadlib.data.pipeline import batches, image_batches, prepared
from deadlib.data.plates import (
    check_plates,
    correction_for,
    field_over,
    reference_statistics,
    scaled,
)
from deadlib.data.preprocess import preprocess_for
from deadlib.errors import RecipeError
from deadlib.recipe import InputSection
from tfrecords_tools import ConversionSettings, Dataset, DatasetError, convert
from tfrecords_tools.intensity import read_intensity

CHANNELS = ("dna", "actin")
GAINS = {"P1": (1, 2), "P2": (2, 1), "P3": (3, 3)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three plates of 16 wells, two channels; plate P3 is in test alone. Cut into four tiles."""
    source: Path = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for plate, gains in GAINS.items():
        for well in range(16):
            image = generator.gamma(3, 500, (2, 12, 16)) * np.reshape(gains, (2, 1, 1)) + 200
            name = f"{plate}_B{well:02}_{('dead', 'living')[well % 2]}.tif"
            options = {"photometric": "minisblack", "metadata": {"axes": "CYX"}}
            tifffile.imwrite(source / name, image.astype(np.uint16), **options)
    settings = ConversionSettings(
        labels="pattern",
        pattern="{plate}_{well}_{label}.tif",
        channels=CHANNELS,
        tile=(2, 2),
        hold_out=("plate=P3",),
        illumination=True,
        examples_per_shard=20,
    )
    return convert(source, tmp_path_factory.mktemp("dataset"), settings)


def described(dataset: Dataset, section: InputSection) -> dict:
    return {
        "channels": dataset.channels,
        "statistics": reference_statistics(dataset, section),
    }


def seen(dataset: Dataset, split: str, section: InputSection) -> dict[str, np.ndarray]:
    """A whole split as the network gets it."""
    about = described(dataset, section)
    correct = correction_for(dataset, section, about)
    part = next(iter(batches(dataset, split, section, batch=1000)))
    images = preprocess_for(section, about)(prepared(part, correct))
    return {"image": np.asarray(images), "row": part["row"].numpy()}


def stored(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    return np.stack([dataset.read_example(int(row)) for row in rows]) / 65535


@pytest.mark.parametrize("normalise", ["plate", "plate_robust"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_network_sees_distances_from_the_plates_centre(
    dataset: Dataset, normalise: str, split: str
) -> None:
    section = InputSection(size_px=(6, 8), normalise=normalise)
    found = seen(dataset, split, section)
    manifest = dataset.manifest
    for plate in GAINS:
        own = (manifest["plate"] == plate).to_numpy()
        chosen = own[found["row"]]
        if not chosen.any():
            continue
        fitted = own & (manifest["split"] == ("test" if plate == "P3" else "train")).to_numpy()
        pixels = stored(dataset, np.flatnonzero(fitted)).reshape(-1, 2)
        if normalise == "plate":
            centre, scale = pixels.mean(axis=0), pixels.std(axis=0)
        else:
            low, centre, high = np.percentile(pixels, (1, 50, 99), axis=0)
            scale = (high - low) / (2 * 2.3263)
        expected = (stored(dataset, found["row"][chosen]) - centre) / scale
        np.testing.assert_allclose(found["image"][chosen], expected, rtol=1e-3, atol=1e-3)


def test_augmentation_gets_intensities_of_the_training_plates(dataset: Dataset) -> None:
    section = InputSection(size_px=(6, 8), normalise="plate")
    about = described(dataset, section)
    correct = correction_for(dataset, section, about)
    images = np.concatenate(list(image_batches(dataset, "test", section, correct)))
    table = read_intensity(dataset)
    means = table[table["split"] == "train"].groupby("channel")["mean"].mean()
    expected = means.loc[list(CHANNELS)].to_numpy()
    np.testing.assert_allclose(about["statistics"]["mean"], expected, rtol=1e-12)
    np.testing.assert_allclose(images.mean(axis=(0, 1, 2)), expected, rtol=1e-3)


def test_channels_are_met_by_name(dataset: Dataset) -> None:
    section = InputSection(size_px=(6, 8), normalise="plate")
    about = described(dataset, section)
    turned = {
        "channels": about["channels"][::-1],
        "statistics": {name: values[::-1] for name, values in about["statistics"].items()},
    }
    rows = np.arange(0, len(dataset.manifest), 7)
    images = stored(dataset, rows).astype(np.float32)
    straight = correction_for(dataset, section, about)
    other = correction_for(dataset, section, turned)
    assert straight is not None
    assert other is not None
    np.testing.assert_allclose(
        np.asarray(other(images[..., ::-1], rows))[..., ::-1], straight(images, rows), atol=1e-6
    )


@pytest.mark.parametrize("size_px", [(6, 8), (3, 16)])
def test_windows_are_divided_by_their_part_of_the_field(
    dataset: Dataset, size_px: tuple[int, int]
) -> None:
    section = InputSection(size_px=size_px, normalise="per_image", illumination=True)
    correct = correction_for(dataset, section, {})
    assert correct is not None
    table = read_intensity(dataset).set_index(["plate", "split", "channel"])
    rows = np.arange(0, len(dataset.manifest), 5)
    found = np.asarray(correct(np.ones((len(rows), *size_px, 2), np.float32), rows))
    for image, row in zip(found, rows, strict=True):
        example = dataset.manifest.iloc[row]
        places = [
            2 * (example[start] + (np.arange(count) + 0.5) * length / count) / side - 1
            for start, count, length, side in (
                ("top_px", size_px[0], 6, 12),
                ("left_px", size_px[1], 8, 16),
            )
        ]
        for channel, name in enumerate(CHANNELS):
            key = (example["plate"], example["split"], name)
            field = legendre.leggrid2d(*places, table["illumination"][key].reshape(5, 5))
            np.testing.assert_allclose(image[..., channel], 1 / field, rtol=1e-4)


def test_a_window_outside_the_image_has_the_mirrored_field() -> None:
    coefficients = np.zeros((1, 1, 5, 5), np.float32)
    coefficients[0, 0, 0, 0], coefficients[0, 0, 1, 0] = 1, 0.5
    place = np.array([[-2.0, 4.0, -1.0, 2.0]], np.float32)
    field = np.asarray(field_over(coefficients, place, np.array([1, 8, 1, 1])))[0, :, 0, 0]
    inside = 1 + 0.5 * np.array([-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(field, [*inside[1::-1], *inside, *inside[:1:-1]], atol=1e-6)


def test_a_plate_without_contrast_is_not_blown_up(dataset: Dataset) -> None:
    flat = read_intensity(dataset).assign(deviation=0.0)
    assert (scaled(flat, "plate")["scale"] == 1e-6).all()


def test_a_recipe_that_asks_for_nothing_reads_no_statistics(dataset: Dataset) -> None:
    bare = Dataset(dataset.folder, {"schema_version": 1})
    assert correction_for(bare, InputSection(), {}) is None


def test_what_the_dataset_lacks_is_named(dataset: Dataset, uniform_dataset: Dataset) -> None:
    with pytest.raises(RecipeError, match=r"no fitted illumination; .* with --illumination"):
        check_plates(uniform_dataset, InputSection(illumination=True))
    bare = Dataset(dataset.folder, {"schema_version": 1})
    with pytest.raises(DatasetError, match=r"no intensity\.parquet"):
        check_plates(bare, InputSection(normalise="plate"))
