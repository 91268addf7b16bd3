"""The optics against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from deadlib.simulation.optics import (
    FULL_SCALE_ELECTRONS,
    READ_NOISE_ELECTRONS,
    Illumination,
    PhaseOptics,
    expose,
    fluorescence,
    phase_contrast,
)
from deadlib.simulation.shapes import patch_around, spread_outline


def disc(radians: float, radius: int = 20) -> np.ndarray:
    y, x = np.mgrid[-64:64, -64:64]
    return np.where(np.hypot(y, x) < radius, radians, 0.0)


def test_an_empty_field_is_evenly_grey() -> None:
    image = phase_contrast(np.zeros((64, 48)), PhaseOptics(0.65))
    assert np.allclose(image, 1.0)


def test_a_thin_cell_is_dark_and_has_a_bright_halo() -> None:
    image = phase_contrast(disc(0.4), PhaseOptics(0.65))
    assert image[50:78, 50:78].mean() < 0.95
    assert image[64, 64 + 23] > 1.05


def test_contrast_of_a_thin_object_is_linear_in_its_delay() -> None:
    optics = PhaseOptics(0.65)
    weak, twice = (1 - phase_contrast(disc(delay), optics)[64, 50] for delay in (0.005, 0.01))
    assert twice == pytest.approx(2 * weak, rel=0.02)


def test_a_thick_cell_turns_bright() -> None:
    y, x = np.mgrid[-64:64, -64:64]
    ball = 3.9 * np.sqrt(np.clip(1 - (y**2 + x**2) / 8**2, 0, None))
    image = phase_contrast(ball, PhaseOptics(0.65))
    assert image[64, 64] > 1.3
    assert image[64, 64 + 8] < 0.8


def test_defocus_blurs_detail() -> None:
    rng = np.random.default_rng(0)
    object_ = 0.05 * rng.standard_normal((128, 128))
    sharp, blurred = (phase_contrast(object_, PhaseOptics(0.65), um).std() for um in (0.0, 8.0))
    assert blurred < 0.6 * sharp


def test_relief_shades_one_flank() -> None:
    object_ = disc(0.3)
    flat = phase_contrast(object_, PhaseOptics(0.65))[64]
    relief = phase_contrast(object_, PhaseOptics(0.65, relief=0.6, relief_angle=0.0))[64]
    assert flat[64:].max() == pytest.approx(flat[:65].max(), abs=0.01)
    assert relief[64:].max() > relief[:65].max() + 0.1


def test_fluorescence_keeps_the_light() -> None:
    density = np.zeros((96, 96))
    density[40:50, 40:50] = 1.0
    image = fluorescence(density, 0.6, 1.0)
    assert image.sum() == pytest.approx(density.sum(), rel=0.01)
    assert image.max() < 1


def test_camera_noise_is_that_of_photons_and_reading() -> None:
    rng = np.random.default_rng(0)
    seen = expose(np.full((400, 400), 0.2), 1.0, rng)
    expected = np.sqrt(0.2 * FULL_SCALE_ELECTRONS + READ_NOISE_ELECTRONS**2) / FULL_SCALE_ELECTRONS
    assert seen.mean() == pytest.approx(0.2, rel=1e-3)
    assert seen.std() == pytest.approx(expected, rel=0.02)


def test_without_noise_the_camera_is_exact_and_saturates() -> None:
    rng = np.random.default_rng(0)
    assert np.array_equal(expose(np.array([[0.25, 7.0]]), 0.0, rng), [[0.25, 1.0]])


def test_illumination_falls_off_from_its_centre() -> None:
    field = Illumination(gain=2.0, falloff=0.2).field(33, 33)
    assert field[16, 16] == pytest.approx(2.0)
    assert field[0, 0] < field[16, 0] < field[16, 16]


def test_outlines_have_unit_area_and_stay_positive() -> None:
    outline = spread_outline(2.0, 0.3, ((0.2, 1.0), (0.1, 2.0)), ((1.0, 1.2, 8.0),))
    assert np.mean(outline**2) == pytest.approx(1.0)
    assert outline.min() > 0.2


def test_a_cell_outside_the_canvas_has_no_patch() -> None:
    assert patch_around(-50.0, 10.0, 20.0, (64, 64)) is None
    patch = patch_around(5.0, 60.0, 20.0, (64, 64))
    assert patch is not None
    assert patch.distance.shape == (27, 24)
    assert patch.distance.min() == 0
