"""The graph between a sent picture and an answer agrees with the network, or says what is wrong."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import imagecodecs
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.ndimage import gaussian_filter

from deadlib.data.preprocess import fit_size, preprocess_for
from deadlib.models import build_network, embedding_network
from deadlib.recipe import InputSection, ModelSection
from deadlib.serving.signature import ServedNetwork

NAMES = {1: ("phase",), 2: ("dna", "actin"), 3: ("red", "green", "blue")}
CLASSES = ("living", "dead", "unsure")


@cache
def network(channels: int) -> keras.Model:
    keras.utils.set_random_seed(channels)
    section = ModelSection(name="small_cnn", width=4, blocks=2)
    return build_network(section, size_px=(16, 16), channels=channels, classes=len(CLASSES))


@cache
def served(
    channels: int,
    fit: str = "resize",
    integers: bool = True,
    equalise: bool = False,
    normalise: str = "per_image",
) -> dict[str, Any]:
    section = InputSection(size_px=(16, 16), fit=fit, equalise=equalise, normalise=normalise)
    module = ServedNetwork(
        network(channels),
        preprocess_for(section, {}),
        section,
        classes=CLASSES,
        channels=NAMES[channels],
        integers=integers,
    )
    return module.signatures()


def expected(
    image: np.ndarray, fit: str = "resize", equalise: bool = False, normalise: str = "per_image"
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and embedding of one stored image, by the layers that training uses."""
    section = InputSection(size_px=(16, 16), fit=fit, equalise=equalise, normalise=normalise)
    unit = image.astype(np.float32) / np.iinfo(image.dtype).max
    seen = preprocess_for(section, {})(np.asarray(fit_size(unit, section))[None])
    logits, embedding = embedding_network(network(image.shape[-1]))(seen, training=False)
    return np.asarray(keras.ops.softmax(logits))[0], np.asarray(embedding)[0]


def picture(channels: int, dtype: Any, shape: tuple[int, int] = (21, 30)) -> np.ndarray:
    """A smooth random image (H, W, C) that uses the whole range."""
    noise = np.random.default_rng(channels).random((*shape, channels))
    smooth = gaussian_filter(noise, (2, 2, 0))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return np.round(smooth * np.iinfo(dtype).max).astype(dtype)


def saved(image: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, kind, **options)
    return buffer.getvalue()


def as_pillow_reads(data: bytes) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(data)))
    return image[..., None] if image.ndim == 2 else image


def test_a_window_is_cut_from_the_whole_image_normalised() -> None:
    image = picture(1, np.uint16)
    how = {"fit": "crop", "normalise": "per_image_16bit"}
    unit = (image / np.float32(65535))[None].astype(np.float32)
    answer = served(1, **how)["serving_default"](image=tf.constant(unit))
    probabilities, embedding = expected(image, **how)
    np.testing.assert_allclose(answer["probability"][0], probabilities, atol=1e-5)
    np.testing.assert_allclose(answer["embedding"][0], embedding, atol=1e-4)
    other = expected(image, fit="crop")[1]
    assert np.abs(embedding - other).max() > 1e-3


def ask_files(channels: int, *files: bytes, fit: str = "resize") -> dict[str, np.ndarray]:
    answer = served(channels, fit)["encoded"](tf.constant(list(files)))
    return {name: tensor.numpy() for name, tensor in answer.items()}


FILES: dict[str, Callable[[int], bytes]] = {
    "8-bit PNG": lambda channels: saved(picture(channels, np.uint8), "PNG"),
    "JPEG": lambda channels: saved(picture(channels, np.uint8), "JPEG"),
    "progressive JPEG": lambda channels: saved(
        picture(channels, np.uint8), "JPEG", progressive=True, quality=60
    ),
    "BMP": lambda channels: saved(picture(channels, np.uint8), "BMP"),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", FILES)
def test_a_sent_file_is_answered_as_the_network_does(kind: str, channels: int) -> None:
    data = FILES[kind](channels)
    probabilities, embedding = expected(as_pillow_reads(data))
    answer = ask_files(channels, data)
    np.testing.assert_allclose(answer["probability"][0], probabilities, atol=1e-5)
    np.testing.assert_allclose(answer["embedding"][0], embedding, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_kept(channels: int) -> None:
    image = picture(channels, np.uint16)
    pixels = image[..., 0] if channels == 1 else image
    answer = ask_files(channels, imagecodecs.png_encode(pixels))
    probabilities, embedding = expected(image)
    np.testing.assert_allclose(answer["probability"][0], probabilities, atol=1e-5)
    np.testing.assert_allclose(answer["embedding"][0], embedding, atol=1e-5)


def test_files_of_several_sizes_and_formats_go_in_one_batch() -> None:
    images = [picture(1, np.uint8, shape) for shape in [(21, 30), (16, 16), (64, 40)]]
    files = [saved(image, kind) for image, kind in zip(images, ["PNG", "BMP", "PNG"], strict=True)]
    answer = ask_files(1, *files)
    wanted = np.stack([expected(image)[0] for image in images])
    np.testing.assert_allclose(answer["probability"], wanted, atol=1e-5)
    assert answer["class_name"].tolist() == [CLASSES[i].encode() for i in wanted.argmax(axis=1)]
    assert answer["class_names"].tolist() == [[name.encode() for name in CLASSES]] * 3


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("fit", ["resize", "crop"])
def test_floats_are_answered_as_the_network_does(fit: str, channels: int) -> None:
    images = np.stack(
        [picture(channels, np.uint16, (25, 18)), picture(channels, np.uint16, (25, 18))[::-1]]
    )
    answer = served(channels, fit)["serving_default"](images.astype(np.float32) / 65535)
    wanted = np.stack([expected(image, fit)[0] for image in images])
    np.testing.assert_allclose(answer["probability"], wanted, atol=1e-5)


@pytest.mark.parametrize("fit", ["resize", "crop"])
def test_equalised_images_are_served_as_the_network_was_taught(fit: str) -> None:
    image = picture(2, np.uint16, (25, 18))
    unit = image[None].astype(np.float32) / 65535
    answer = served(2, fit, equalise=True)["serving_default"](unit)
    wanted = expected(image, fit, equalise=True)[0]
    assert np.abs(wanted - expected(image, fit)[0]).max() > 1e-3
    np.testing.assert_allclose(answer["probability"][0], wanted, atol=1e-5)


def test_the_window_of_a_crop_is_the_one_of_prediction() -> None:
    image = picture(1, np.uint8, (33, 21))
    answer = ask_files(1, saved(image, "PNG"), fit="crop")
    np.testing.assert_allclose(answer["probability"][0], expected(image, "crop")[0], atol=1e-5)


def test_opaque_transparency_is_dropped_and_other_refused() -> None:
    image = picture(3, np.uint8)
    opaque = np.concatenate([image, np.full_like(image[..., :1], 255)], axis=-1)
    answer = ask_files(3, saved(opaque, "PNG"))
    np.testing.assert_allclose(answer["probability"][0], expected(image)[0], atol=1e-5)
    opaque[0, 0, 3] = 254
    with pytest.raises(tf.errors.InvalidArgumentError, match="takes 3 channels"):
        ask_files(3, saved(opaque, "PNG"))


def test_two_channels_have_no_signature_for_files() -> None:
    assert set(served(2)) == {"serving_default", "gradcam", "gradcam_of_class"}


@pytest.mark.parametrize(
    ("channels", "data", "message"),
    [
        (1, saved(picture(3, np.uint8), "PNG"), r"takes 1 channels \(phase\), found"),
        (3, saved(picture(1, np.uint8), "JPEG"), r"takes 3 channels \(red, green, blue\), found"),
        (1, b"II*\0 a TIFF", "not a PNG, JPEG or BMP"),
        (1, b"", "not a PNG, JPEG or BMP"),
        (1, saved(picture(1, np.uint8), "PNG")[:60], "PNG"),
    ],
    ids=["colour for grey", "grey for colour", "TIFF", "empty", "truncated"],
)
def test_a_file_that_does_not_fit_is_refused_in_words(
    channels: int, data: bytes, message: str
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask_files(channels, data)


def test_a_bmp_of_colour_numbers_is_refused() -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture(3, np.uint8)).quantize(9).save(buffer, "BMP")
    with pytest.raises(tf.errors.InvalidArgumentError, match="palette"):
        ask_files(1, buffer.getvalue())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((1, 20, 20, 3), 0.5), r"takes 1 channels \(phase\), found"),
        (np.full((1, 20, 20, 1), 200.0), "divide 8-bit images by 255"),
        (np.full((1, 20, 20, 1), np.nan), "NaN"),
        (np.full((1, 20, 12, 1), 0.5), "at least 16 x 16 px, found"),
    ],
    ids=["channels", "range", "NaN", "too small"],
)
def test_floats_that_do_not_fit_are_refused_in_words(image: np.ndarray, message: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served(1, "crop")["serving_default"](image.astype(np.float32))


def test_a_run_on_float_images_takes_any_intensity() -> None:
    image = np.full((1, 16, 16, 1), 200, np.float32)
    assert "encoded" not in served(1, "resize", integers=False)
    assert served(1, "resize", integers=False)["serving_default"](image)["class_name"].shape == (1,)
