"""A small experiment on disk and its plan, made by hand so that writing is tested alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tfrecords_tools.images import examine
from tfrecords_tools.plan import Plan
from tfrecords_tools.settings import ConversionSettings

PlanMaker = Callable[..., Plan]


@pytest.fixture
def make_small_plan(tmp_path: Path) -> PlanMaker:
    """Images of two wells per class, each cut into two windows, in shards of `shard_size`."""

    def make(
        *, images: int = 6, side_px: int = 12, shard_size: int = 4, encoding: str = "raw", seed=0
    ) -> Plan:
        source = tmp_path / f"source{seed}"
        source.mkdir(exist_ok=True)
        rng = np.random.default_rng(seed)
        rows = []
        for number in range(images):
            file = f"image{number}.png"
            pixels = rng.integers(0, 4096, (side_px, 2 * side_px), dtype=np.uint16)
            Image.fromarray(pixels).save(source / file)
            facts = examine([source / file])
            label = "dead" if number % 2 else "living"
            for half in range(2):
                rows.append(
                    {
                        "example_id": f"image{number}_01_{half + 1:02}",
                        "split": ["train", "validation", "test"][number // 2 % 3],
                        "label": label,
                        "class_index": int(label == "living"),
                        "group": f"B{number:02}",
                        "source_id": file,
                        "source_paths": [file],
                        "top_px": 0,
                        "left_px": half * side_px,
                        "height_px": side_px,
                        "width_px": side_px,
                        "image_sha256": facts.sha256,
                        "image_crc32c": facts.crc32c,
                        "well": f"B{number:02}",
                        "row": "B",
                        "time_hours": 1.5 * number if number else None,
                        "treatment": None if number == 1 else "light",
                    }
                )
        return Plan(
            settings=ConversionSettings(
                encoding=encoding, examples_per_shard=shard_size, split_by=("well",)
            ),
            source=source,
            name="small",
            examples=_in_shards(pd.DataFrame(rows), shard_size),
            classes=("dead", "living"),
            channels=("phase",),
            split_info={
                "by": ["well"],
                "fractions": [0.7, 0.15, 0.15],
                "seed": 0,
                "hold_out": [],
                "counts": {"train": {"dead": 2, "living": 2}},
                "proof": [f"{images} wells, none in two splits"],
            },
            audit={
                "identical_groups": [["image0.png", "image2.png"]],
                "conflicting_labels": [],
                "confounding": [],
                "warnings": ["the class follows the plate"],
            },
            skipped=({"path": "broken.png", "reason": "the file is empty"},),
            facts={
                "intensity": {"phase": {"low": 0.0, "high": 4095.0, "dtypes": ["uint16"]}},
                "sizes": [{"height_px": side_px, "width_px": 2 * side_px, "images": images}],
                "dtypes": {"uint16": images},
            },
        )

    return make


def _in_shards(rows: pd.DataFrame, shard_size: int) -> pd.DataFrame:
    parts = []
    for split in ("train", "validation", "test"):
        part = rows[rows["split"] == split].copy()
        place = np.arange(len(part))
        part["shard"] = [f"small-{split}.tfrecord-{n:05}" for n in place // shard_size]
        part["index"] = place % shard_size
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
