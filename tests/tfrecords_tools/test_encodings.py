"""Encodings: files that other programs read, and a JPEG that says what it loses."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tfrecords_tools import ConversionSettings, PlanError, convert
from tfrecords_tools.encodings import encode_image, in_words
from tfrecords_tools.records import decode_example, decode_image, encode_example, parse

RNG = np.random.default_rng(0)
SMOOTH = np.linspace(20, 220, 48 * 64).reshape(48, 64, 1).repeat(3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_is_an_ordinary_picture(channels):
    image = RNG.integers(0, 256, (5, 7, channels), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_image(image, "png"))) as picture:
        pixels = np.asarray(picture)
    np.testing.assert_array_equal(pixels.reshape(image.shape), image)


def test_a_png_of_16_bits_is_exact():
    image = RNG.integers(0, 2**16, (5, 7, 1), dtype=np.uint16)
    with Image.open(io.BytesIO(encode_image(image, "png"))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), image[..., 0])


@pytest.mark.parametrize("channels", [1, 3])
def test_both_decoders_read_the_same_from_a_jpeg(channels):
    image = SMOOTH[..., :channels]
    record = b"".join(encode_example({"example_id": "a"}, image, "jpeg:90", row=0, class_index=0))
    decoded, _ = decode_example(record)
    assert (decoded.shape, decoded.dtype) == (image.shape, np.uint8)
    assert 0 < np.abs(decoded.astype(int) - image).mean() < 3
    parsed = parse(record)
    assert parsed["encoding"].numpy() == b"jpeg"
    np.testing.assert_allclose(decode_image(parsed).numpy() * 255, decoded, atol=1e-3)


def test_a_lower_quality_is_smaller():
    sizes = [len(encode_image(SMOOTH, f"jpeg:{quality}")) for quality in (30, 95)]
    assert sizes[0] < sizes[1]
    assert encode_image(SMOOTH, "jpeg") == encode_image(SMOOTH, "jpeg:95")


@pytest.fixture
def images(tmp_path):
    for label in ("dead", "living"):
        for number in range(6):
            path = tmp_path / "images" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(RNG.integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
    return tmp_path / "images"


def test_the_loss_is_a_warning_that_the_dataset_keeps(images, tmp_path):
    dataset = convert(images, tmp_path / "out", ConversionSettings(encoding="jpeg:80"))
    assert any("JPEG of quality 80" in text for text in dataset.info["audit"]["warnings"])
    lossless = convert(images, tmp_path / "raw", ConversionSettings(encoding="png"))
    assert not any("JPEG" in text for text in lossless.info["audit"]["warnings"])


def test_an_encoding_that_does_not_fit_is_refused_before_anything_is_written(images, tmp_path):
    for path in images.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 256).save(path)
    with pytest.raises(PlanError, match="JPEG holds 8 bits"):
        convert(images, tmp_path / "out", ConversionSettings(encoding="jpeg"))
    assert not (tmp_path / "out").exists()


def test_the_size_of_the_pixels_is_told_only_where_it_is_known() -> None:
    assert in_words("png", 10_000_000, 5_000_000).startswith(
        "encoding png: 5.0 MB for 10.0 MB of pixels; "
    )
    assert in_words("raw", None, 8_200_000).startswith("encoding raw: 8.2 MB; ")
