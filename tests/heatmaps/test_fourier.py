"""A convolution by the Fourier transform, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.signal import correlate

from deadlib.heatmaps.fourier import FourierConvolution, is_faster


@pytest.mark.parametrize(("rows", "columns"), [(5, 7), (23, 40)])
def test_it_slides_the_kernel(rows: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(1, rows, columns, 3)).astype(np.float32)
    kernel = rng.normal(size=(5, 4, 3, 6)).astype(np.float32)
    bias = rng.normal(size=6).astype(np.float32)
    found = FourierConvolution.of(kernel, bias)(tf.constant(maps))
    expected = [
        correlate(maps[0].astype(np.float64), kernel[..., channel], "valid")[..., 0] + bias[channel]
        for channel in range(6)
    ]
    np.testing.assert_allclose(found[0], np.stack(expected, axis=-1), atol=1e-4)


def test_it_is_for_deadnets_dense_layer_and_not_for_its_stem() -> None:
    assert is_faster(np.empty((14, 14, 128, 512), np.float32))
    assert not is_faster(np.empty((9, 9, 1, 16), np.float32))
    assert not is_faster(np.empty((3, 3, 128, 128), np.float32))
