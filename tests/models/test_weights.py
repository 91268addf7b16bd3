"""The weights that training starts from."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from deadlib.errors import RecipeError
from deadlib.models import build_network, load_initial_weights
from deadlib.models.weights import (
    IMAGENET_DEVIATION,
    copy_imagenet_weights,
    inflate,
    standardised_stem,
)
from deadlib.recipe import ModelSection

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])


def build(channels: int = 1, classes: int = 2, size_px: int = 32, **model: object) -> keras.Model:
    section = ModelSection.model_validate(model)
    return build_network(section, size_px=(size_px, size_px), channels=channels, classes=classes)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_an_inflated_stem_answers_a_grey_image_as_before(channels: int) -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 3, 5))
    grey = rng.normal(size=(3, 3, 1))
    inflated = inflate(kernel, channels)
    assert inflated.shape == (3, 3, channels, 5)
    before = np.einsum("hwc,hwcf->f", np.repeat(grey, 3, axis=2), kernel)
    after = np.einsum("hwc,hwcf->f", np.repeat(grey, channels, axis=2), inflated)
    np.testing.assert_allclose(after, before, rtol=1e-12)


def test_a_stem_for_three_channels_is_kept() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 5))
    assert inflate(kernel, 3) is kernel


@pytest.mark.parametrize("channels", range(1, 8))
@pytest.mark.parametrize("stem", ["extra_mean", "mean"])
def test_published_stems_are_not_rescaled(stem: str, channels: int) -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 5))
    mean = kernel.mean(axis=2)
    first = [kernel[:, :, place] for place in range(3)] if stem == "extra_mean" else [mean] * 3
    found = inflate(kernel, channels, stem)
    assert found.shape == (3, 3, channels, 5)
    for place, expected in enumerate([*first, *[mean] * 4][:channels]):
        np.testing.assert_allclose(found[:, :, place], expected, rtol=1e-12)


@pytest.mark.parametrize("stem", ["extra_mean", "random"])
def test_the_stem_of_an_efficientnet_follows_the_recipe(stem: str) -> None:
    source = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_tensor=keras.Input((32, 32, 3))
    )
    network = build(channels=4, name="efficientnetb0", weights="imagenet", stem=stem)
    before = network.get_layer("stem_conv").kernel.numpy()
    copy_imagenet_weights(source, network, "efficientnetb0", stem)
    theirs = source.get_layer("stem_conv").kernel.numpy()
    expected = before if stem == "random" else inflate(theirs, 4, stem)
    np.testing.assert_array_equal(network.get_layer("stem_conv").kernel, expected)
    other = "block6d_dwconv"
    np.testing.assert_array_equal(
        network.get_layer(other).kernel, source.get_layer(other).kernel.numpy()
    )


def test_a_stem_rule_without_imagenet_weights_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.stem: mean says .* found random; leave it out"):
        build(name="resnet50", stem="mean")


def test_a_resnet_stem_means_the_same_on_standardised_images_as_on_keras_own_input() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(7, 7, 3, 4))
    rgb = rng.uniform(0, 255, (7, 7, 3))
    keras_input = keras.applications.resnet.preprocess_input(rgb.copy())
    caffe_mean = rgb - keras_input[:, :, ::-1]
    np.testing.assert_allclose(caffe_mean[0, 0], 255 * IMAGENET_MEAN, rtol=0.01)
    standardised = (rgb - caffe_mean) / (255 * IMAGENET_DEVIATION)
    np.testing.assert_allclose(
        np.einsum("hwc,hwcf->f", standardised, standardised_stem(kernel, "resnet50")),
        np.einsum("hwc,hwcf->f", keras_input, kernel),
        rtol=1e-9,
    )
    assert standardised_stem(kernel, "densenet121") is kernel


def test_imagenet_weights_arrive_in_every_layer_but_those_that_rescale() -> None:
    source = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_tensor=keras.Input((32, 32, 3))
    )
    network = build(channels=4, name="efficientnetb0")
    copy_imagenet_weights(source, network, "efficientnetb0")
    for layer in network.layers:
        if not layer.weights or layer.name == "logits":
            continue
        kernel, *others = source.get_layer(layer.name).get_weights()
        if layer.name == "stem_conv":
            kernel = inflate(kernel, 4)
        for found, expected in zip(layer.get_weights(), [kernel, *others], strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=layer.name)


def test_keras_resnet50_and_ours_answer_alike_with_the_same_weights() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((64, 64, 3))
    source = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=image)
    rng = np.random.default_rng(0)
    for layer in source.layers:  # biases and statistics that tell where they went
        if layer.weights:
            weights = [weight + rng.uniform(0, 0.2, weight.shape) for weight in layer.get_weights()]
            layer.set_weights(weights)
    network = build(channels=3, name="resnet50", size_px=64)
    copy_imagenet_weights(source, network, "resnet50")
    rgb = rng.uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    expected = source(keras.applications.resnet.preprocess_input(rgb.copy()), training=False)
    mean = np.array([123.68, 116.779, 103.939], np.float32)
    standardised = (rgb - mean) / (255 * IMAGENET_DEVIATION)
    maps = keras.Model(network.input, network.get_layer("stage4_block3_relu").output)
    found = maps(standardised.astype(np.float32), training=False)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * float(np.max(expected)))


def test_imagenet_weights_are_refused_where_blocks_halve_elsewhere() -> None:
    section = ModelSection(name="resnet50", weights="imagenet", stride_in="3x3")
    with pytest.raises(RecipeError, match=r"stride_in: .*found 3x3; set model.stride_in: 1x1"):
        load_initial_weights(build(width=4, blocks=2), section)


def test_imagenet_weights_without_a_network_end_in_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    section = ModelSection(name="resnet50", weights="imagenet")
    network = build(width=4, blocks=2)
    with pytest.raises(RecipeError, match=r"could not be downloaded.*connect once.*random"):
        load_initial_weights(network, section)


@pytest.mark.parametrize("name", ["small_cnn", "deadnet", "resnet34"])
def test_a_network_without_imagenet_weights_names_those_that_have_them(name: str) -> None:
    with pytest.raises(RecipeError, match=rf"no ImageNet weights for {name}.*resnet50.*efficient"):
        load_initial_weights(build(name=name), ModelSection(name=name, weights="imagenet"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, keras.Model]:
    path = tmp_path_factory.mktemp("run") / "model.keras"
    network = build(width=4, blocks=2)
    network.save(path)
    return path, network


def test_a_file_gives_all_its_weights(saved: tuple[Path, keras.Model]) -> None:
    path, source = saved
    network = build(width=4, blocks=2)
    load_initial_weights(network, ModelSection(weights=str(path)))
    for found, expected in zip(network.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_logits_of_other_classes_are_left_at_random(saved: tuple[Path, keras.Model]) -> None:
    path, source = saved
    network = build(width=4, blocks=2, classes=5)
    before = network.get_layer("logits").kernel.numpy()
    load_initial_weights(network, ModelSection(weights=str(path)))
    np.testing.assert_array_equal(network.get_layer("logits").kernel, before)
    name = "block2_2_convolution"
    np.testing.assert_array_equal(network.get_layer(name).kernel, source.get_layer(name).kernel)


def test_a_file_of_another_network_is_refused_by_the_layer(
    saved: tuple[Path, keras.Model],
) -> None:
    path, _ = saved
    with pytest.raises(RecipeError, match=r"another network: layer block"):
        load_initial_weights(build(width=8, blocks=2), ModelSection(weights=str(path)))
    with pytest.raises(RecipeError, match=r"another network: layer block"):
        load_initial_weights(build(width=4, blocks=3), ModelSection(weights=str(path)))


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    network = build(width=4, blocks=2)
    with pytest.raises(RecipeError, match=r"nowhere\.keras not found"):
        load_initial_weights(network, ModelSection(weights=str(tmp_path / "nowhere.keras")))
    damaged = tmp_path / "damaged.keras"
    damaged.write_bytes(b"no zip")
    with pytest.raises(RecipeError, match=r"damaged\.keras cannot be read"):
        load_initial_weights(network, ModelSection(weights=str(damaged)))
