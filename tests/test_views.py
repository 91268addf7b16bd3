"""One answer from several views."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from deadlib.errors import InputError
from deadlib.views import check_views, dihedral_views, mean_logits


def test_the_eight_views_are_the_dihedral_group() -> None:
    image = np.random.default_rng(0).random((1, 5, 5, 2)).astype(np.float32)
    found = {view.tobytes() for view in dihedral_views(image, 8)}
    turned = [np.rot90(image, turns, axes=(1, 2)) for turns in range(4)]
    expected = [*turned, *(view[:, ::-1] for view in turned)]
    assert found == {np.ascontiguousarray(view).tobytes() for view in expected}


def test_one_view_is_the_image_and_four_keep_its_shape() -> None:
    image = np.random.default_rng(0).random((2, 4, 6, 1))
    np.testing.assert_array_equal(next(dihedral_views(image, 1)), image)
    assert {view.shape for view in dihedral_views(image, 4)} == {image.shape}


@given(seed=st.integers(0, 999), scale=st.sampled_from([1.0, 30.0, 300.0]))
def test_the_mean_is_that_of_probabilities(seed: int, scale: float) -> None:
    logits = np.random.default_rng(seed).normal(size=(8, 3, 4)) * scale
    found = mean_logits(list(logits))
    assert np.isfinite(found).all()
    expected = softmax(logits, axis=-1).mean(axis=0)
    np.testing.assert_allclose(softmax(found, axis=-1), expected, atol=1e-12)


def test_what_has_no_such_views_is_refused() -> None:
    check_views(8, (6, 6))
    check_views(4, (6, 8))
    with pytest.raises(InputError, match=r"6 x 8 px.*use 4"):
        check_views(8, (6, 8))
    with pytest.raises(InputError, match="3 views"):
        check_views(3, (6, 6))
