"""The record: one example as the bytes of a tf.train.Example, and back.

Every record carries `image` (its bytes), `height width channels dtype encoding`, `class_index`
(-1 where the label is unknown), `row` (the example's 0-based row in manifest.parquet),
`example_id`, and `metadata/<column>` for every manifest column that has a value; an absent value
is an absent feature.

Encodings: `raw` is the pixels in C order, little-endian; `png` is lossless, for uint8 and uint16.
A PNG of 1 or 3 channels is an ordinary picture; other numbers of channels stand in it as planes
one under another, as PNG has no such pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pandas as pd

from tfrecords_tools.errors import DatasetError, PlanError
from tfrecords_tools.settings import ENCODINGS

if TYPE_CHECKING:
    import tensorflow as tf

DTYPES = ("uint8", "uint16", "float32")
IMAGE_FEATURES = ("image", "height", "width", "channels", "dtype", "encoding")
METADATA_PREFIX = "metadata/"
UNKNOWN_CLASS = -1

# PNG's own pixel kinds without alpha; other channel counts are laid out as planes.
_PNG_CHANNELS = (1, 3)
_ZLIB_LEVEL = 6


def encode_example(
    columns: Mapping[str, Any], image: np.ndarray, encoding: str, *, row: int, class_index: int
) -> bytes:
    """Serialise one example.

    Args:
        columns: the example's manifest columns, among them `example_id`. None, NaN and NA are
            left out; text becomes bytes, whole numbers int64, others float32.
        image: (height, width, channel) uint8, uint16 or float32.
        encoding: `raw` or `png`.
        row: the example's row in the manifest, from 0.
        class_index: -1 where the label is unknown.

    Raises PlanError for an image or encoding that records cannot hold.
    """
    import tensorflow as tf

    height, width, channels = image.shape
    values = {
        "image": encode_image(image, encoding),
        "height": height,
        "width": width,
        "channels": channels,
        "dtype": image.dtype.name,
        "encoding": encoding,
        "class_index": class_index,
        "row": row,
        "example_id": columns["example_id"],
    }
    for name, value in columns.items():
        if name != "example_id" and _is_present(value):
            values[METADATA_PREFIX + name] = value
    features = {name: _feature(value) for name, value in values.items()}
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # Without this the order of features, and so the bytes, could differ between processes.
    return bytes(example.SerializeToString(deterministic=True))


def decode_example(serialized: bytes) -> tuple[np.ndarray, dict[str, Any]]:
    """The image and the other features of one record, without a graph.

    Returns the (height, width, channel) array in its own data type, and a dict of `example_id`,
    `row`, `class_index` and `metadata` (a dict by column; a list of one is the value alone).
    Raises DatasetError where the bytes are not a record of this package.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        example = tf.train.Example.FromString(serialized)
        found = {name: _value(name, feature) for name, feature in example.features.feature.items()}
        image = _decode_pixels(**{name: found[name] for name in IMAGE_FEATURES})
        row = {name: found[name] for name in ("example_id", "row", "class_index")}
    except (DecodeError, KeyError, ValueError, RuntimeError) as error:
        raise DatasetError(
            f"a record cannot be read ({error}), expected one written by tfrecords_tools; convert "
            "the images again"
        ) from None
    metadata = {
        name.removeprefix(METADATA_PREFIX): value
        for name, value in found.items()
        if name.startswith(METADATA_PREFIX)
    }
    return image, row | {"metadata": metadata}


def encode_image(image: np.ndarray, encoding: str) -> bytes:
    """The bytes of a (height, width, channel) image. Raises PlanError."""
    if image.dtype.name not in DTYPES:
        raise PlanError(f"records hold {', '.join(DTYPES)}, found an image of {image.dtype}")
    if encoding == "raw":
        return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<")).tobytes()
    if encoding != "png":
        raise PlanError(f"unknown encoding {encoding!r}, expected one of {', '.join(ENCODINGS)}")
    if image.dtype.kind == "f":
        raise PlanError("PNG holds 8- and 16-bit integers, found float32; use the encoding raw")
    if image.shape[2] not in _PNG_CHANNELS:
        height, width, channels = image.shape
        image = np.moveaxis(image, -1, 0).reshape(channels * height, width, 1)
    pixels = image[..., 0] if image.shape[2] == 1 else image
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=_ZLIB_LEVEL))


def feature_spec() -> dict[str, tf.io.FixedLenFeature]:
    """What every record has, for tf.io.parse_single_example."""
    import tensorflow as tf

    text, number = tf.io.FixedLenFeature((), tf.string), tf.io.FixedLenFeature((), tf.int64)
    return {
        "image": text,
        "height": number,
        "width": number,
        "channels": number,
        "dtype": text,
        "encoding": text,
        "class_index": number,
        "row": number,
        "example_id": text,
    }


def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Graph op: one serialized record () string → its features of `feature_spec`, image encoded."""
    import tensorflow as tf

    features: dict[str, tf.Tensor] = tf.io.parse_single_example(serialized, feature_spec())
    return features


def decode_image(parsed: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Graph op: the image of one parsed record as (height, width, channel) float32.

    Integer types are divided by their largest value, so they lie in 0-1; float32 is unchanged.
    """
    import tensorflow as tf

    data = parsed["image"]
    height, width, channels = (
        tf.cast(parsed[name], tf.int32) for name in ("height", "width", "channels")
    )
    shape = tf.stack([height, width, channels])

    def raw(dtype: tf.DType) -> tf.Tensor:
        return tf.reshape(_unit_range(tf.io.decode_raw(data, dtype)), shape)

    def png(dtype: tf.DType) -> tf.Tensor:
        pixels = _unit_range(tf.io.decode_png(data, dtype=dtype))
        planes = tf.stack([channels, height, width])
        return tf.cond(
            tf.equal(tf.shape(pixels)[-1], channels),
            lambda: tf.reshape(pixels, shape),
            lambda: tf.transpose(tf.reshape(pixels, planes), [1, 2, 0]),
        )

    readers = {
        "raw uint8": lambda: raw(tf.uint8),
        "raw uint16": lambda: raw(tf.uint16),
        "raw float32": lambda: raw(tf.float32),
        "png uint8": lambda: png(tf.uint8),
        "png uint16": lambda: png(tf.uint16),
    }
    kind = tf.strings.join([parsed["encoding"], parsed["dtype"]], separator=" ")
    known = tf.equal(kind, list(readers))
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_any(known), [kind])]):
        image = tf.switch_case(tf.argmax(known, output_type=tf.int32), list(readers.values()))
    return tf.ensure_shape(image, (None, None, None))


def _unit_range(pixels: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    if pixels.dtype == tf.float32:
        return pixels
    return tf.cast(pixels, tf.float32) / float(pixels.dtype.max)


def _decode_pixels(
    image: bytes, height: int, width: int, channels: int, dtype: str, encoding: str
) -> np.ndarray:
    if encoding == "raw":
        flat = np.frombuffer(image, dtype=np.dtype(dtype).newbyteorder("<"))
        return flat.astype(dtype).reshape(height, width, channels)
    pixels = np.asarray(imagecodecs.png_decode(image))
    if channels in _PNG_CHANNELS:
        return pixels.reshape(height, width, channels)
    planes = pixels.reshape(channels, height, width)
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def _is_present(value: Any) -> bool:
    if isinstance(value, (list, tuple, np.ndarray)):
        return len(value) > 0
    return not pd.isna(value)


def _feature(value: Any) -> tf.train.Feature:
    import tensorflow as tf

    values = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]
    if all(isinstance(item, (bool, int, np.integer, np.bool_)) for item in values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(item) for item in values]))
    if all(isinstance(item, (float, int, np.floating, np.integer)) for item in values):
        return tf.train.Feature(
            float_list=tf.train.FloatList(value=[float(item) for item in values])
        )
    data = [item if isinstance(item, bytes) else str(item).encode() for item in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=data))


def _value(name: str, feature: tf.train.Feature) -> Any:
    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value)
    if kind == "bytes_list" and name != "image":
        values = [value.decode() for value in values]
    return values[0] if len(values) == 1 else values
