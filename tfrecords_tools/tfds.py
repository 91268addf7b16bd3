"""What lets TensorFlow Datasets open a dataset directory: `tfds.builder_from_directory(folder)`.

Written by hand, as TensorFlow Datasets is no dependency: `features.json` says how a record is
decoded, `dataset_info.json` where the records of each split are, `label.labels.txt` what the
classes are called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tfrecords_tools.encodings import PNG_CHANNELS
from tfrecords_tools.records import METADATA_PREFIX
from tfrecords_tools.settings import parse_encoding
from tfrecords_tools.shards import NOT_IN_RECORDS, ShardFacts

_CORE = "tensorflow_datasets.core.features"
_DTYPES = {"string": "object", "int64": "int64", "double": "float32", "bool": "bool"}
_NUMBER = re.compile(r"\d+$")


def tfds_documents(
    name: str,
    classes: Sequence[str],
    encoding: str,
    channels: int,
    dtypes: Sequence[str],
    manifest: pa.Table,
    shards: Sequence[ShardFacts],
) -> dict[str, bytes]:
    """The files by name.

    The examples have `image`, `label` (-1 where unknown; a number alone without classes),
    `example_id`, `row` and `metadata`, a column of which is "", the least number or False where it
    is absent. Images are arrays of their own data type, where that and the size (`raw`) are the
    same for all; otherwise `image` is their bytes, beside `height`, `width`, `channels`, `dtype`.
    PNG of 2 or more than 4 channels are read as their planes, one under another.
    """
    features = _features_dict(
        {
            **_image_features(encoding, channels, dtypes, manifest),
            "label": _label(classes),
            "example_id": _scalar("object"),
            "row": _scalar("int64"),
            METADATA_PREFIX.removesuffix("/"): _features_dict(_metadata(manifest)),
        }
    )
    info = {
        "name": name,
        "version": "1.0.0",
        "fileFormat": "tfrecord",
        "supervisedKeys": {"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "label"}]}},
        "splits": _splits(shards),
    }
    documents = {"features.json": _json(features), "dataset_info.json": _json(info)}
    if classes:
        documents["label.labels.txt"] = "".join(f"{label}\n" for label in classes).encode()
    return documents


def _splits(shards: Sequence[ShardFacts]) -> list[dict[str, Any]]:
    found: dict[str, list[ShardFacts]] = {}
    for shard in shards:
        found.setdefault(shard.split, []).append(shard)
    return [
        {
            "name": split,
            "filepathTemplate": _NUMBER.sub("{SHARD_INDEX}", mine[0].file),
            "numBytes": str(sum(shard.bytes for shard in mine)),
            "shardLengths": [str(shard.examples) for shard in mine],
        }
        for split, mine in found.items()
    ]


def _image_features(
    encoding: str, channels: int, dtypes: Sequence[str], manifest: pa.Table
) -> dict[str, Any]:
    heights, widths = (manifest[name].unique().to_pylist() for name in ("height_px", "width_px"))
    format_name, _ = parse_encoding(encoding)
    if len(dtypes) == 1 and format_name != "raw":
        planes = channels if channels in PNG_CHANNELS else 1
        return {"image": _image(planes, dtypes[0], format_name)}
    if len(dtypes) == len(heights) == len(widths) == 1:
        return {"image": _tensor((heights[0], widths[0], channels), dtypes[0])}
    numbers = {name: _scalar("int64") for name in ("height", "width", "channels")}
    return {"image": _scalar("object"), **numbers, "dtype": _scalar("object")}


def _metadata(manifest: pa.Table) -> dict[str, Any]:
    """The columns that records hold, but for those whose names TFDS would take for a path."""
    found = {}
    for field in manifest.schema:
        if field.name in (*NOT_IN_RECORDS, "example_id") or "/" in field.name:
            continue
        if pa.types.is_list(field.type):
            text = _scalar("object")
            found[field.name] = _feature(
                "sequence_feature.Sequence", {"sequence": {"feature": text, "length": "-1"}}
            )
            continue
        optional = manifest[field.name].null_count > 0
        found[field.name] = _scalar(_DTYPES[str(field.type)], optional)
    return found


def _features_dict(features: Mapping[str, Any]) -> dict[str, Any]:
    return _feature("features_dict.FeaturesDict", {"featuresDict": {"features": dict(features)}})


def _label(classes: Sequence[str]) -> dict[str, Any]:
    if not classes:
        return _scalar("int64")
    label = {"classLabel": {"numClasses": str(len(classes))}}
    return _feature("class_label_feature.ClassLabel", label)


def _image(channels: int, dtype: str, encoding: str) -> dict[str, Any]:
    shape = {"dimensions": ["-1", "-1", str(channels)]}
    image = {"dtype": dtype, "encodingFormat": encoding, "shape": shape}
    return _feature("image_feature.Image", {"image": image})


def _tensor(shape: Sequence[int], dtype: str) -> dict[str, Any]:
    dimensions = {"dimensions": [str(length) for length in shape]}
    tensor = {"dtype": dtype, "encoding": "bytes", "shape": dimensions}
    return _feature("tensor_feature.Tensor", {"tensor": tensor})


def _scalar(dtype: str, optional: bool = False) -> dict[str, Any]:
    tensor = {"dtype": dtype, "encoding": "none", "shape": {}, "optional": optional}
    return _feature("tensor_feature.Tensor", {"tensor": tensor})


def _feature(python_class: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"pythonClassName": f"{_CORE}.{python_class}", **content}


def _json(tree: Mapping[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode()
