"""Each family of numbers reacts to what it is about, and the threads give one answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deadlib.controls.images import FAMILIES, background, intensity, measure, reduced, sharpness


def picture(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.normal(1000, 5, (80, 100))
    image[20:50, 30:60] += gaussian_filter(rng.normal(0, 2000, (30, 30)), 1)
    return image.astype(np.float32)


def test_intensity_is_numpys() -> None:
    image = picture()
    found = intensity(image)
    assert found[:2] == pytest.approx([image.mean(), image.std()])
    assert found[6] == pytest.approx(np.median(image))


def test_blur_and_not_light_changes_sharpness() -> None:
    image = picture()
    assert sharpness(2 * image) == pytest.approx(sharpness(image), abs=1e-3)
    assert sharpness(gaussian_filter(image, 2))[0] < sharpness(image)[0] - 1


def test_the_slope_of_the_light_is_found_beside_cells() -> None:
    image = picture()
    tilted = image * np.linspace(0.8, 1.2, 80, dtype=np.float32)[:, None]
    away = np.ones(image.shape, bool)
    away[15:55, 25:65] = False
    slopes = [np.array(background(each, away)[1:3]) for each in (image, tilted)]
    assert slopes[1][0] - slopes[0][0] == pytest.approx(0.4, abs=0.02)
    assert slopes[1][1] == pytest.approx(slopes[0][1], abs=0.02)


def test_without_background_nothing_is_made_up() -> None:
    assert np.isnan(background(picture(), np.zeros((80, 100), bool))).all()


def test_large_images_are_averaged_down() -> None:
    image = np.arange(300 * 400, dtype=np.uint32).reshape(300, 400, 1)
    small = reduced(image)
    assert small.shape == (75, 100, 1)
    assert small[0, 0, 0] == image[:4, :4].mean()


def test_all_images_are_measured_in_order() -> None:
    images = [picture(seed)[..., None] * (1 + seed) for seed in range(5)]
    told: list[int] = []
    found = measure(lambda number: images[number], 5, told.append)
    assert set(found) == set(FAMILIES)
    assert sum(told) == 5
    assert (np.diff(found["intensity"][:, 0]) > 500).all()
    assert found["cell_count"][:, 0] == pytest.approx(1, abs=1)
