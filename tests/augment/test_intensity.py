from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from deadlib.augment.intensity import (
    BackgroundGradient,
    Blur,
    Brightness,
    Contrast,
    GainOffset,
    Gamma,
    Noise,
    Sharpen,
    gaussian_blur,
)
from deadlib.errors import RecipeError

SEED = np.array([11, 12])


@pytest.fixture(scope="module")
def rough() -> np.ndarray:
    return np.random.default_rng(0).random((40, 12, 12, 2)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.6, 1.3, 2.0])
def test_blur_is_scipys(rough: np.ndarray, sigma: float) -> None:
    found = np.asarray(gaussian_blur(rough[:1], np.array([sigma], np.float32), 3.0))
    expected = ndimage.gaussian_filter(
        rough[0].astype(np.float64), (sigma, sigma, 0), mode="mirror", radius=(9, 9, 0)
    )
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_each_image_is_blurred_by_its_own_sigma(rough: np.ndarray) -> None:
    alike = np.repeat(rough[:1], 100, axis=0)
    spread = np.asarray(Blur(sigma_px=(0.0, 2.0))(alike, SEED)).std(axis=(1, 2, 3))
    full = np.asarray(Blur(sigma_px=2.0)(alike[:1], SEED)).std()
    assert full * 0.99 < spread.min() < spread.max() <= alike[0].std() * 1.001
    assert spread.max() > 2 * spread.min()


def test_a_blur_wider_than_the_image_still_works(rough: np.ndarray) -> None:
    found = np.asarray(Blur(sigma_px=20)(rough, SEED))
    np.testing.assert_allclose(found.mean(), rough.mean(), rtol=0.05)


def test_sharpening_raises_detail_and_keeps_the_mean(rough: np.ndarray) -> None:
    found = np.asarray(Sharpen(amount=1.0)(rough, SEED))
    assert (found.std(axis=(1, 2)) > rough.std(axis=(1, 2))).all()
    np.testing.assert_allclose(found.mean(), rough.mean(), rtol=0.01)


def test_contrast_stretches_about_the_mean(rough: np.ndarray) -> None:
    found = np.asarray(Contrast(factor=2.0)(rough, SEED))
    mean = rough.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(found, mean + 2 * (rough - mean), atol=1e-5)


def test_brightness_moves_images_by_at_most_its_amplitude(rough: np.ndarray) -> None:
    change = np.asarray(Brightness(amplitude=0.5)(rough, SEED)) - rough
    assert np.ptp(change, axis=(1, 2, 3)).max() < 1e-5
    relative = change.mean(axis=(1, 2, 3)) / rough.std(axis=(1, 2, 3))
    assert np.abs(relative).max() <= 0.501
    assert np.ptp(relative) > 0.7


def test_gamma_keeps_the_ends_and_the_order_of_intensities(rough: np.ndarray) -> None:
    found = np.asarray(Gamma(exponent=(0.5, 2.0))(rough, SEED))
    for end in (np.min, np.max):
        np.testing.assert_allclose(end(found, axis=(1, 2)), end(rough, axis=(1, 2)), atol=1e-6)
    order = rough[0, :, :, 0].ravel().argsort()
    assert (np.diff(found[0, :, :, 0].ravel()[order]) >= 0).all()
    squared = np.asarray(Gamma(exponent=2.0)(rough, SEED))[0, :, :, 1]
    low, high = rough[0, :, :, 1].min(), rough[0, :, :, 1].max()
    expected = low + (rough[0, :, :, 1] - low) ** 2 / (high - low)
    np.testing.assert_allclose(squared, expected, atol=1e-5)


def test_a_flat_image_stays_flat_and_finite() -> None:
    flat = np.full((3, 8, 8, 1), 0.4, np.float32)
    for layer in (Gamma(), BackgroundGradient(), Contrast(), Brightness(), Blur(), Sharpen()):
        np.testing.assert_allclose(layer(flat, SEED), flat, atol=1e-6)


def test_the_background_is_smooth_and_as_strong_as_asked(rough: np.ndarray) -> None:
    added = np.asarray(BackgroundGradient(amplitude=0.8)(rough, SEED)) - rough
    relative = added.std(axis=(1, 2)) / rough.std(axis=(1, 2))
    np.testing.assert_allclose(relative, 0.8, rtol=1e-3)
    np.testing.assert_allclose(added.mean(axis=(1, 2)), 0, atol=1e-5)
    third_differences = np.diff(added, n=3, axis=1)
    assert np.abs(third_differences).max() < 1e-5


def test_noise_has_the_deviation_asked_for_in_every_pixel_by_itself(rough: np.ndarray) -> None:
    added = np.asarray(Noise(sigma=0.5)(rough, SEED)) - rough
    np.testing.assert_allclose(added.std(), 0.5, rtol=0.03)
    np.testing.assert_allclose(added.mean(), 0, atol=0.02)
    neighbours = np.corrcoef(added[:, 1:].ravel(), added[:, :-1].ravel())[0, 1]
    channels = np.corrcoef(added[..., 0].ravel(), added[..., 1].ravel())[0, 1]
    assert abs(neighbours) < 0.05
    assert abs(channels) < 0.05


def test_gain_and_offset_are_drawn_for_each_channel_of_each_image() -> None:
    images = np.random.default_rng(0).normal(size=(400, 6, 6, 2)).astype(np.float32)
    found = np.asarray(GainOffset(gain_deviation=0.2, offset_deviation=0.5)(images, SEED))
    gain = (found[:, 0, 0] - found[:, 1, 1]) / (images[:, 0, 0] - images[:, 1, 1])
    offset = found[:, 0, 0] - gain * images[:, 0, 0]
    np.testing.assert_allclose([gain.mean(), gain.std()], [1, 0.2], atol=0.02)
    np.testing.assert_allclose([offset.mean(), offset.std()], [0, 0.5], atol=0.05)
    assert abs(np.corrcoef(gain[:, 0], gain[:, 1])[0, 1]) < 0.15
    assert abs(np.corrcoef(gain[:, 0], offset[:, 0])[0, 1]) < 0.15


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Blur, {"sigma_px": [2, 1]}, "low end of a range comes first"),
        (Blur, {"sigma_px": [-1, 1]}, r"sigma_px: .*greater than or equal to 0.*found -1"),
        (Gamma, {"exponent": 0}, r"exponent: .*greater than 0"),
        (Noise, {"sigma": float("inf")}, "sigma: .*finite"),
        (Noise, {"sigma": [1, 2, 3]}, "sigma"),
        (Noise, {"sigma_px": 1}, "unknown parameter sigma_px; did you mean sigma"),
    ],
)
def test_settings_out_of_range_are_refused(
    kind: type, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        kind(**settings)
