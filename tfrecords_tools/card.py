"""The data card: what is in a dataset, as JSON, for the terminal, the run and the report."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from tfrecords_tools.dataset import Dataset
from tfrecords_tools.intensity import plate_differences, read_intensity
from tfrecords_tools.pixels import percentile_name
from tfrecords_tools.sheet import UNLABELLED, contact_sheet
from tfrecords_tools.sources import natural_key
from tfrecords_tools.split import as_text
from tfrecords_tools.table import PLACE_COLUMNS

__all__ = ["UNLABELLED", "contact_sheet", "data_card"]

# A column with more values than this is summarised, not counted by value.
_VALUES_COUNTED = 24


def data_card(dataset: Dataset) -> dict[str, Any]:
    """What is in a dataset, as JSON values.

    counts: {split: {class: examples}}; columns: {metadata column: values, absent, by_split (values
    in each split), low and high where numeric, by_class ({value: {class: examples}}) where the
    values are few}); example_sizes and image_sizes; intensity: {channel: low, high, dtypes} in the
    files' units; pixel_size_um and modality, null where not known; plates: [{plate, channel,
    fitted_on, wells, median, mean, deviation}] in unit range; split (by, fractions, seed, hold_out,
    groups, proof: sentences); similar: pairs of images that show the same cells, as in deadlib.json
    (`similar.similar_json`); notes: sentences on how the images were read; warnings: sentences on
    what makes figures from this dataset doubtful; skipped: {path, reason}.
    """
    manifest, info = dataset.manifest[dataset.manifest["split"].notna()], dataset.info
    labels = manifest["label"].fillna(UNLABELLED)
    classes = [*dataset.classes, *([UNLABELLED] if (labels == UNLABELLED).any() else [])]
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "examples": len(manifest),
        "images": int(manifest["source_id"].nunique()),
        "groups": int(manifest["group"].nunique()),
        "bytes": sum(shard["bytes"] for shard in info["shards"]),
        "shards": len(info["shards"]),
        "encoding": info["encoding"],
        "classes": dataset.classes,
        "channels": dataset.channels,
        "counts": {
            split: {
                name: int(((manifest["split"] == split) & (labels == name)).sum())
                for name in classes
            }
            for split in dataset.splits
        },
        "columns": {
            str(name): _column(manifest[name], manifest["split"], labels, dataset.splits)
            for name in manifest
            if name not in PLACE_COLUMNS
        },
        "example_sizes": _sizes(manifest),
        "image_sizes": info["sizes"],
        "dtypes": info["dtypes"],
        "pixel_size_um": dataset.pixel_size_um,
        "modality": dataset.modality,
        "intensity": info["intensity"],
        "plates": _plates(dataset),
        "split": info["split"],
        "identical_groups": len(info["audit"]["identical_groups"]),
        "conflicting_labels": len(info["audit"]["conflicting_labels"]),
        "confounding": info["audit"]["confounding"],
        "similar": info.get("similar"),
        "notes": info["audit"].get("notes", []),
        "warnings": [*info["audit"]["warnings"], *plate_differences(dataset)],
        "skipped": info["skipped"],
    }


def _column(
    values: pd.Series, split: pd.Series, labels: pd.Series, splits: list[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "values": int(values.nunique()),
        "absent": int(values.isna().sum()),
        "by_split": {name: int(values[split == name].nunique()) for name in splits},
    }
    if is_numeric_dtype(values) and not is_bool_dtype(values) and found["values"]:
        found |= {"low": float(values.min()), "high": float(values.max())}
    if found["values"] <= _VALUES_COUNTED:
        counts = pd.crosstab(values.dropna().map(as_text), labels)
        found["by_class"] = {
            value: {str(name): int(n) for name, n in counts.loc[value].items() if n}
            for value in sorted(counts.index, key=natural_key)
        }
    return found


def _plates(dataset: Dataset) -> list[dict[str, Any]]:
    """What each plate and channel was measured to be, once for each split it was fitted on."""
    if "plate_intensity" not in dataset.info:
        return []
    table = read_intensity(dataset).drop_duplicates(["plate", "channel", "fitted_on"])
    return [
        {
            **{name: row[name] for name in ("plate", "channel", "fitted_on", "mean", "deviation")},
            "median": row[percentile_name(50)],
            "wells": None if pd.isna(row["wells"]) else int(row["wells"]),
        }
        for row in table.to_dict("records")
    ]


def _sizes(manifest: pd.DataFrame) -> list[dict[str, int]]:
    """The sizes of the examples, the most frequent first."""
    counts = Counter(zip(manifest["height_px"], manifest["width_px"], strict=True))
    return [
        {"height_px": int(height), "width_px": int(width), "examples": count}
        for (height, width), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
