"""The record: one example as the bytes of a tf.train.Example, and back.

Every record carries `image` (its bytes), `height width channels dtype encoding`, `class_index`
(-1 where the label is unknown; once more as `label`, where TensorFlow Datasets looks), `row` (the
example's 0-based row in manifest.parquet), `example_id`, and `metadata/<column>` for every manifest
column that has a value; an absent value is an absent feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrecords_tools import wire
from tfrecords_tools.encodings import decode_pixels, encode_image
from tfrecords_tools.errors import DatasetError
from tfrecords_tools.settings import parse_encoding

if TYPE_CHECKING:
    import tensorflow as tf

IMAGE_FEATURES = ("image", "height", "width", "channels", "dtype", "encoding")
METADATA_PREFIX = "metadata/"
UNKNOWN_CLASS = -1


def encode_example(
    columns: Mapping[str, Any], image: np.ndarray, encoding: str, *, row: int, class_index: int
) -> list[wire.Bytes]:
    """Serialise one example, in pieces for `tfrecord.write_records`: large images are not copied.

    Args:
        columns: the example's manifest columns, among them `example_id`. None and NaN are left
            out; text becomes bytes, whole numbers int64, others float32.
        image: (height, width, channel) uint8, uint16 or float32.
        encoding: as in `encodings`.
        row: the example's row in the manifest, from 0.
        class_index: -1 where the label is unknown.

    Raises PlanError for an image or encoding that records cannot hold.
    """
    height, width, channels = image.shape
    values = {
        "height": height,
        "width": width,
        "channels": channels,
        "dtype": image.dtype.name,
        "encoding": parse_encoding(encoding)[0],
        "class_index": class_index,
        "label": class_index,
        "row": row,
        "example_id": columns["example_id"],
    }
    for name, value in columns.items():
        if name != "example_id" and _is_present(value):
            values[METADATA_PREFIX + name] = value
    features = {name: _values(value) for name, value in values.items()}
    return wire.encode({"image": [encode_image(image, encoding)], **features})


def decode_example(serialized: bytes) -> tuple[np.ndarray, dict[str, Any]]:
    """The image and the other features of one record, without a graph.

    Returns the (height, width, channel) array in its own data type, and a dict of `example_id`,
    `row`, `class_index` and `metadata` (a dict by column; a list of one is the value alone).
    Raises DatasetError where the bytes are not a record of this package.
    """
    try:
        found = {name: _value(name, values) for name, values in wire.decode(serialized).items()}
        image = decode_pixels(*(found[name] for name in IMAGE_FEATURES))
        row = {name: found[name] for name in ("example_id", "row", "class_index")}
    except (KeyError, ValueError, RuntimeError) as error:
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

    def jpeg() -> tf.Tensor:
        # As other decoders do it; TensorFlow's own default is faster and not as exact.
        pixels = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE")
        return tf.reshape(_unit_range(pixels), shape)

    readers = {
        "raw uint8": lambda: raw(tf.uint8),
        "raw uint16": lambda: raw(tf.uint16),
        "raw float32": lambda: raw(tf.float32),
        "png uint8": lambda: png(tf.uint8),
        "png uint16": lambda: png(tf.uint16),
        "jpeg uint8": jpeg,
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


def _is_present(value: Any) -> bool:
    if isinstance(value, (list, tuple, np.ndarray)):
        return len(value) > 0
    return value is not None and value == value


def _values(value: Any) -> wire.Values:
    values = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]
    if all(isinstance(item, (bool, int, np.integer, np.bool_)) for item in values):
        return [int(item) for item in values]
    if all(isinstance(item, (float, int, np.floating, np.integer)) for item in values):
        return [float(item) for item in values]
    return [item if isinstance(item, bytes) else str(item).encode() for item in values]


def _value(name: str, values: Sequence[Any]) -> Any:
    if name != "image":
        values = [
            bytes(value).decode() if isinstance(value, memoryview) else value for value in values
        ]
    return values[0] if len(values) == 1 else list(values)
