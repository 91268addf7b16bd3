"""Features of regions agree with scikit-image and NumPy, region by region."""

from __future__ import annotations

import numpy as np
import pytest
from discs import disc
from scipy.stats import pearsonr
from skimage.feature import graycomatrix, graycoprops, hessian_matrix, hessian_matrix_eigvals

from deadlib.features.regions import Regions, measure_regions, shapes
from deadlib.features.texture import co_occurrences, smoothed
from deadlib.features.texture import surfaces as surfaces_at

SHAPE = (60, 70)
LABELS = np.zeros(SHAPE, np.int32)
LABELS[disc(SHAPE, 20, 20, 9)] = 1
LABELS[disc(SHAPE, 40, 45, 12)] = 2
# one pixel alone, and a region without any
LABELS[2, 66] = 3
IMAGE = np.random.default_rng(0).gamma(2.0, 0.1, (*SHAPE, 2)).astype(np.float32)
REGIONS = Regions(LABELS, 4)


def surfaces(plane: np.ndarray, scale_px: float) -> dict[str, np.ndarray]:
    """At all pixels of a plane."""
    found = surfaces_at(smoothed(plane, scale_px), scale_px, np.arange(plane.size))
    return {name: values.reshape(plane.shape) for name, values in found.items()}


@pytest.fixture(scope="module")
def measured() -> dict[str, np.ndarray]:
    compartments = {"nucleus": REGIONS, "ring": Regions(np.roll(LABELS, 5, axis=1), 4)}
    return measure_regions(IMAGE, ["DNA", "ER"], compartments, 20)


def test_every_feature_has_a_value_for_every_cell(measured: dict[str, np.ndarray]) -> None:
    assert {len(values) for values in measured.values()} == {4, 3}
    assert all(np.isfinite(values[:2]).all() for values in measured.values())


@pytest.mark.parametrize("number", [1, 2])
def test_intensities_are_those_of_the_pixels(measured: dict[str, np.ndarray], number: int) -> None:
    above = IMAGE[..., 1] - np.percentile(IMAGE[..., 1], 1)
    inside = above[number == LABELS]
    got = {name: values[number - 1] for name, values in measured.items()}
    np.testing.assert_allclose(got["nucleus_mean_ER"], inside.mean(), rtol=1e-5)
    np.testing.assert_allclose(got["nucleus_deviation_ER"], inside.std(), rtol=1e-5)
    np.testing.assert_allclose(got["nucleus_sum_ER"], inside.sum(), rtol=1e-5)
    for percent in (5, 25, 50, 75, 95):
        expected = np.quantile(inside, percent / 100, method="lower")
        np.testing.assert_allclose(got[f"nucleus_quantile{percent:02}_ER"], expected, rtol=1e-6)
    other = IMAGE[..., 0][number == LABELS]
    expected = pearsonr(other, inside).statistic
    np.testing.assert_allclose(got["nucleus_correlation_DNA_ER"], expected, atol=1e-6)


def test_a_region_without_pixels_has_no_intensity(measured: dict[str, np.ndarray]) -> None:
    assert np.isnan(measured["ring_mean_ER"][3])
    assert np.isnan(measured["ring_quantile50_ER"][3])


def test_the_share_of_the_nucleus_rises_with_what_lies_in_it() -> None:
    nucleus, cell = disc(SHAPE, 30, 30, 8), disc(SHAPE, 30, 30, 14)
    compartments = {
        "nucleus": Regions(nucleus.astype(np.int32), 1),
        "ring": Regions((cell & ~nucleus).astype(np.int32), 1),
    }
    for inside, outside, share in ((3.0, 1.0, 0.75), (1.0, 1.0, 0.5), (1.0, 3.0, 0.25)):
        image = (inside * nucleus + outside * (cell & ~nucleus))[..., None].astype(np.float32)
        got = measure_regions(image, ["GFP"], compartments, 16)
        np.testing.assert_allclose(got["nucleus_share_GFP"], [share], rtol=1e-5)


def test_light_at_one_side_is_off_centre() -> None:
    labels = disc(SHAPE, 30, 30, 10).astype(np.int32)
    even = np.ones((*SHAPE, 1), np.float32)
    even[0, :2] = 0
    lopsided = even * np.where(np.arange(SHAPE[1]) > 30, 1, 0.1)[None, :, None]
    lopsided = lopsided.astype(np.float32)
    off = [
        measure_regions(image, ["A"], {"nucleus": Regions(labels, 1)}, 20)["nucleus_off_centre_A"]
        for image in (even, lopsided)
    ]
    assert off[0][0] < 0.02
    assert 0.2 < off[1][0] < 0.6


def test_shapes_tell_a_disc_from_a_bar() -> None:
    labels = disc(SHAPE, 20, 20, 12).astype(np.int32)
    labels[45:49, 10:60] = 2
    found = shapes(Regions(labels, 2))
    assert found["area_px"].tolist() == [(labels == 1).sum(), 200]
    assert found["eccentricity"][0] < 0.1 < 0.95 < found["eccentricity"][1]
    assert found["form_factor"][0] > 2 * found["form_factor"][1]


def test_the_grey_level_matrix_is_scikit_images() -> None:
    """A region that fills a rectangle has the matrix of that rectangle."""
    plane = IMAGE[:20, :30, 0]
    labels = np.zeros((26, 40), np.int32)
    labels[3:23, 5:35] = 1
    there = np.zeros((26, 40), np.float32)
    there[3:23, 5:35] = plane
    edges = np.quantile(plane, np.arange(1, 8) / 8, method="lower")
    levels = (plane[..., None] > edges).sum(axis=-1).astype(np.uint8)
    # scikit-image's fourth direction goes down to the left as ours does
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    expected = graycomatrix(levels, [1], [angles[0], angles[2]], levels=8, symmetric=True)
    diagonal = graycomatrix(levels, [2**0.5], [angles[1], angles[3]], levels=8, symmetric=True)
    found = co_occurrences(there, labels, edges[:, None].astype(np.float64), 1)[0]
    np.testing.assert_array_equal(found, expected.sum(axis=(2, 3)) + diagonal.sum(axis=(2, 3)))


def test_grey_level_statistics_are_scikit_images() -> None:
    regions = Regions(np.ones((20, 30), np.int32), 1)
    image = IMAGE[:20, :30, :1]
    got = measure_regions(image, ["A"], {"image": regions}, 20)
    edges = regions.quantiles(regions.of(image[..., 0]), [k / 8 for k in range(1, 8)])
    counts = co_occurrences(image[..., 0], regions.labels, edges, 1)[0]
    matrix = (counts / counts.sum())[:, :, None, None]
    names = {"contrast": "contrast", "homogeneity": "homogeneity", "second_moment": "ASM"}
    for ours, theirs in {**names, "level_correlation": "correlation", "entropy": "entropy"}.items():
        expected = graycoprops(matrix, theirs)[0, 0] / (np.log(2) if ours == "entropy" else 1)
        np.testing.assert_allclose(got[f"image_{ours}_A"][0], expected, rtol=1e-9)


def test_grey_levels_do_not_depend_on_brightness_and_contrast() -> None:
    compartments = {"nucleus": REGIONS}
    one = measure_regions(IMAGE, ["A", "B"], compartments, 20)
    other = measure_regions(IMAGE * 4, ["A", "B"], compartments, 20)
    for name, values in one.items():
        if any(what in name for what in ("contrast", "entropy", "spot", "ridge", "form_factor")):
            np.testing.assert_allclose(values, other[name], rtol=1e-5, err_msg=name)


def test_surfaces_are_made_of_the_eigenvalues_of_the_hessian() -> None:
    plane = IMAGE[..., 0]
    hessian = hessian_matrix(plane, 2.0, mode="nearest", order="rc", use_gaussian_derivatives=True)
    a, b = hessian_matrix_eigvals(hessian) * 4
    found = surfaces(plane, 2.0)
    inside = (slice(12, -12), slice(12, -12))
    # differences of neighbours stand for derivatives
    tolerance = 0.1 * np.abs(a).max()
    np.testing.assert_allclose(found["spot"][inside], np.maximum(-a, 0)[inside], atol=tolerance)
    np.testing.assert_allclose(found["hole"][inside], np.maximum(b, 0)[inside], atol=tolerance)


@pytest.mark.parametrize(
    ("shape", "strongest"), [("spot", "spot"), ("line", "ridge"), ("step", "edge")]
)
def test_a_surface_answers_most_to_what_it_is_named_after(shape: str, strongest: str) -> None:
    rows, columns = np.mgrid[:41, :41] - 20.0
    away = {"spot": rows**2 + columns**2, "line": rows**2, "step": None}[shape]
    plane = (columns > 0) * 1.0 if away is None else np.exp(-away / 18)
    centre = {name: values[20, 20] for name, values in surfaces(plane, 3.0).items()}
    assert max(centre, key=lambda name: centre[name]) == strongest
    dark = {name: values[20, 20] for name, values in surfaces(-plane, 3.0).items()}
    opposite = {"spot": "hole", "ridge": "valley", "edge": "edge"}[strongest]
    assert max(dark, key=lambda name: dark[name]) == opposite


def test_an_even_plane_has_no_texture() -> None:
    assert all(
        np.abs(values).max() < 1e-6 for values in surfaces(np.ones(SHAPE, np.float32), 2).values()
    )
