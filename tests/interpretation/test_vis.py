"""Every method finds the place that matters, where it is known which one does."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from deadlib.errors import InputError
from deadlib.interpretation.methods import METHODS, heat_maps
from deadlib.interpretation.vis import grad_cam_plus_plus
from deadlib.models import build_network, last_convolution
from deadlib.recipe import ModelSection

CAMS = ["gradcam", "gradcam++", "scorecam"]


def two_stains() -> tuple[keras.Model, np.ndarray]:
    """Class k hangs on stain k alone: stain 0 lies in a corner, stain 1 in the opposite one."""
    image = keras.Input((16, 16, 2))
    maps = keras.layers.Conv2D(2, 1, use_bias=False, name="maps")(image)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    network = keras.Model(image, keras.layers.Dense(2, use_bias=False)(pooled))
    network.set_weights([np.eye(2)[None, None], 400 * np.eye(2)])
    images = np.zeros((2, 16, 16, 2), np.float32)
    images[:, 2:5, 11:14, 0] = 1
    images[:, 10:14, 1:4, 1] = 1
    return network, images


@pytest.mark.parametrize("method", CAMS)
def test_the_heat_lies_on_the_stain_of_the_class(method: str) -> None:
    network, images = two_stains()
    found = heat_maps(network, images, [0, 1], "maps", method)
    assert found.shape == (2, 16, 16)
    assert found.dtype == np.float32
    for k in (0, 1):
        on_stain = found[k][images[k, ..., k] > 0]
        assert on_stain.sum() > 0.9 * found[k].sum() > 0
        assert on_stain.min() > 0


def test_smoothgrad_is_flat_zero_where_the_network_does_not_look() -> None:
    image = keras.Input((16, 16, 1))
    head = keras.layers.Dense(2, use_bias=False)
    network = keras.Model(image, head(keras.layers.Flatten()(keras.ops.tanh(image))))
    weights = np.zeros((16, 16, 2))
    weights[2:5, 11:14, 0], weights[9:12, 2:4, 1] = 1, -1
    head.set_weights([weights.reshape(-1, 2)])
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype(np.float32)
    found = heat_maps(network, images, [0, 1], "", "smoothgrad")
    for k in (0, 1):
        np.testing.assert_array_equal(found[k] > 0, weights[..., k] != 0)


def test_grad_cam_plus_plus_of_pooled_maps_takes_only_maps_that_speak_for_the_class() -> None:
    """After mean pooling every place has the same gradient: the sum of equation 10 is its value."""
    generator = np.random.default_rng(0)
    image = keras.Input((6, 5, 3))
    maps = keras.layers.Conv2D(4, 1, activation="relu", name="maps")(image)
    head = keras.layers.Dense(2)
    network = keras.Model(image, head(keras.layers.GlobalAveragePooling2D()(maps)))
    images = generator.normal(size=(2, 6, 5, 3)).astype(np.float32)
    kernel, bias = generator.normal(size=(4, 2)), np.array([300, -300])  # exp(300) is infinite
    head.set_weights([kernel, bias])
    found = grad_cam_plus_plus(network, images, [0, 1], "maps")
    at = keras.Model(image, maps)(images).numpy()
    for i in (0, 1):
        wanted = at[i] @ np.maximum(kernel[:, i], 0) / 30
        np.testing.assert_allclose(found[i], wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_maps_of_a_convolutional_network_are_finite_and_repeat_themselves(
    method: str, policy: str, capfd: pytest.CaptureFixture[str]
) -> None:
    former = keras.mixed_precision.dtype_policy()
    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_global_policy(policy)
    try:
        section = ModelSection(name="small_cnn", width=4, blocks=2)
        network = build_network(section, size_px=(16, 16), channels=1, classes=2)
    finally:
        keras.mixed_precision.set_global_policy(former)
    images = np.random.default_rng(1).normal(size=(3, 16, 16, 1)).astype(np.float32)
    state = np.random.get_state()[1].copy()
    layer = last_convolution(network)
    maps = [heat_maps(network, images, [0, 1, 1], layer, method) for _ in range(2)]
    assert maps[0].dtype == np.float32
    assert maps[0].shape[0] == 3
    assert np.isfinite(maps[0]).all()
    assert maps[0].min() >= 0
    assert maps[0].max() > 0
    np.testing.assert_array_equal(*maps)
    np.testing.assert_array_equal(state, np.random.get_state()[1], "the caller's own draws")
    assert "step" not in capfd.readouterr().out


@pytest.mark.parametrize("method", CAMS)
def test_a_layer_without_a_map_is_refused(method: str) -> None:
    network, images = two_stains()
    with pytest.raises(InputError, match="no feature map of that name"):
        heat_maps(network, images, [0, 1], "dense", method)
