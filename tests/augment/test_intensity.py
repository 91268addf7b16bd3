from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, special

from deadlib.augment.intensity import (
    BackgroundGradient,
    Blur,
    Brightness,
    CameraNoise,
    Contrast,
    Defocus,
    GainOffset,
    Gamma,
    Lighting,
    Noise,
    Sharpen,
    disc_blur,
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


def covered(radius: float, size: int) -> np.ndarray:
    """The share of each pixel of a grid that a disc about the middle covers, by counting."""
    fine = np.linspace(-size / 2, size / 2, 40 * size, endpoint=False) + 1 / 80
    inside = np.hypot(fine[:, None], fine) <= radius
    return inside.reshape(size, 40, size, 40).mean(axis=(1, 3))


@pytest.mark.parametrize("radius", [1.0, 2.3, 4.0])
def test_defocus_is_a_convolution_with_a_disc(radius: float) -> None:
    image = np.random.default_rng(0).random((17, 20)).astype(np.float32)
    disc = covered(radius, 9)
    found = np.asarray(disc_blur(image[None, ..., None], np.array([radius], np.float32), 4.4))
    expected = ndimage.convolve(image.astype(np.float64), disc / disc.sum(), mode="mirror")
    # The rim is covered in proportion to its distance, which is right to a few percent of a pixel.
    np.testing.assert_allclose(found[0, ..., 0], expected, atol=0.02)


def test_the_disc_is_applied_exactly_at_every_frequency_and_border() -> None:
    point = np.zeros((1, 21, 16, 1), np.float32)
    point[0, 10, 8] = 1.0
    disc = np.asarray(disc_blur(point, np.array([2.6], np.float32), 3.0))[0, 7:14, 5:12, 0]
    image = np.random.default_rng(0).random((11, 14, 2)).astype(np.float32)
    found = np.asarray(disc_blur(image[None], np.array([2.6], np.float32), 3.0))[0]
    for channel in range(2):
        plane = image[..., channel].astype(np.float64)
        expected = ndimage.convolve(plane, disc, mode="mirror")
        np.testing.assert_allclose(found[..., channel], expected, atol=1e-5)


def test_each_image_is_out_of_focus_by_its_own_radius(rough: np.ndarray) -> None:
    alike = np.repeat(rough[:1], 60, axis=0)
    spread = np.asarray(Defocus(radius_px=(0.0, 4.0))(alike, SEED)).std(axis=(1, 2, 3))
    assert spread.max() <= alike[0].std() * 1.001
    assert spread.max() > 3 * spread.min()


def test_a_disc_wider_than_the_image_still_works(rough: np.ndarray) -> None:
    found = np.asarray(Defocus(radius_px=20)(rough, SEED))
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


def test_lighting_is_fastais(rough: np.ndarray) -> None:
    scale, change = 1.3, 0.6
    found = np.asarray(Lighting(scale=scale, change=change)(rough, SEED))
    logit = special.logit(rough.astype(np.float64))
    np.testing.assert_allclose(found, special.expit(scale * logit + special.logit(change)), 1e-5)
    ends = np.array([0, 1], np.float32).reshape(1, 1, 2, 1)
    assert np.isfinite(Lighting(scale=scale, change=change)(ends, SEED)).all()


def test_lighting_draws_scale_and_change_in_their_ranges(rough: np.ndarray) -> None:
    half = np.full((400, 2, 2, 1), 0.5, np.float32)
    found = np.asarray(Lighting(change=(0.3, 0.6))(half, SEED))[:, 0, 0, 0]
    assert 0.3 <= found.min() < 0.31
    assert 0.59 < found.max() <= 0.6
    bright = np.full((400, 2, 2, 1), special.expit(1.0), np.float32)
    scale = special.logit(np.asarray(Lighting(change=0.5)(bright, SEED), np.float64))[:, 0, 0, 0]
    assert 0.9 <= scale.min() < 0.905
    assert 1.105 < scale.max() <= 1 / 0.9 + 1e-4


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


@pytest.mark.parametrize("full_scale", [1.0, 0.0625])
def test_camera_noise_has_the_variance_of_a_poisson_count_and_the_read_noise(
    full_scale: float,
) -> None:
    levels = np.array([0, 0.1, 0.4, 1.0]) * full_scale
    images = np.ones((30, 60, 60, 4), np.float32) * levels.astype(np.float32)
    layer = CameraNoise(photons=200, read_noise=3, full_scale=full_scale)
    found = np.asarray(layer(images, SEED), np.float64)
    rng = np.random.default_rng(0)
    counts = rng.poisson(levels / full_scale * 200, images.shape)
    expected = (counts + rng.normal(0, 3, images.shape)) * full_scale / 200
    for moment in (np.mean, np.std):
        reference = moment(expected, axis=(0, 1, 2))
        np.testing.assert_allclose(
            moment(found, axis=(0, 1, 2)), reference, rtol=0.02, atol=1e-3 * full_scale
        )
    noise = found - levels
    neighbours = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
    assert abs(neighbours) < 0.02


def test_fewer_photons_give_more_noise() -> None:
    images = np.full((200, 20, 20, 1), 0.5, np.float32)
    noise = np.asarray(CameraNoise(photons=(100, 10000))(images, SEED)).std(axis=(1, 2, 3))
    assert noise.max() > 6 * noise.min()
    assert noise.max() < 1.2 * np.sqrt(50 + 25) / 100


def test_gain_and_offset_act_on_stored_intensities_where_asked() -> None:
    assert GainOffset().stage == "after"
    assert GainOffset(intensities="stored").stage == "before"


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
        (Lighting, {"change": [0.4, 1.0]}, "change: .*below 1"),
        (CameraNoise, {"photons": 0}, r"photons: .*greater than 0"),
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
