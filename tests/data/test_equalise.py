"""Equalised intensities are ranks, in training, prediction and serving alike."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deadlib.data.equalise import equalise
from deadlib.data.pipeline import batches
from deadlib.data.preprocess import fit_size
from deadlib.recipe import InputSection
from tfrecords_tools import Dataset


def camera_image(seed: int, levels: int) -> np.ndarray:
    """(9, 7, 2) float32 with many equal pixels where there are few levels."""
    grey = np.random.default_rng(seed).integers(0, levels, (9, 7, 2))
    return (grey / 65535).astype(np.float32)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([1, 2, 9, 65536]))
def test_it_is_the_empirical_distribution_function_of_each_channel(seed: int, levels: int) -> None:
    image = camera_image(seed, levels)
    found = np.asarray(equalise(tf.constant(image)))
    for channel in range(2):
        values = image[..., channel]
        expected = stats.ecdf(values.ravel()).cdf.evaluate(values)
        np.testing.assert_allclose(found[..., channel], expected, rtol=1e-6)


def test_any_growing_map_of_intensities_is_forgotten() -> None:
    image = camera_image(1, 500)
    changed = (0.3 + 2 * image**0.7).astype(np.float32)
    np.testing.assert_array_equal(equalise(tf.constant(changed)), equalise(tf.constant(image)))


@pytest.mark.parametrize("fit", ["resize", "crop"])
def test_the_whole_image_is_equalised_before_it_is_fitted(fit: str) -> None:
    image = camera_image(2, 500)
    plain, even = (InputSection(size_px=(4, 4), fit=fit, equalise=on) for on in (False, True))
    expected = fit_size(equalise(tf.constant(image)), plain)
    fitted = tf.function(
        lambda image: fit_size(image, even),
        input_signature=[tf.TensorSpec((None, None, 2), tf.float32)],
    )
    np.testing.assert_array_equal(fitted(image), expected)


@pytest.mark.parametrize("fit", ["resize", "crop"])
def test_what_training_reads_is_equalised(fit: str, uniform_dataset: Dataset) -> None:
    section = InputSection(size_px=(8, 8), fit=fit, equalise=True)
    part = next(batches(uniform_dataset, "train", section, batch=3).as_numpy_iterator())
    for image, row in zip(part["image"], part["row"], strict=True):
        stored = uniform_dataset.read_example(int(row)).astype(np.float32)
        np.testing.assert_array_equal(image, equalise(tf.constant(stored)))
