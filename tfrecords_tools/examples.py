"""The table of examples: images cut into windows, put in order, and dealt out to shards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrecords_tools import split
from tfrecords_tools.annotated import item_window
from tfrecords_tools.cut import (
    WINDOW,
    Box,
    Window,
    box_window,
    contains,
    image_windows,
    overlap,
)
from tfrecords_tools.images import ImageFacts
from tfrecords_tools.settings import SPLITS, ConversionSettings
from tfrecords_tools.sources import Problem, Sources
from tfrecords_tools.table import BOX_COLUMNS, ROW_NUMBER

if TYPE_CHECKING:
    import pandas as pd

TILE = ("tile_row", "tile_column")
NO_SHARDS: Mapping[str, int] = {}
_SHARD_NAME = re.compile(r".+-(\w+)\.tfrecord-(\d{5,})")


def cut_examples(
    sources: Sources, facts: Mapping[str, ImageFacts], settings: ConversionSettings
) -> pd.DataFrame:
    """One row per window of every usable image; what cannot be cut goes to the problems."""
    import pandas as pd

    rows = sources.rows[sources.rows["source_id"].isin(facts)]
    if settings.labels == "boxes":
        windows = _box_windows(rows, facts, settings, sources.problems)
    elif settings.labels == "annotations":
        windows = _annotated_windows(rows, facts, settings, sources)
    else:
        windows = _image_windows(list(rows["source_id"]), facts, settings, sources.problems)
    repeats = [len(found) for found in windows]
    cut = rows.loc[rows.index.repeat(repeats)].reset_index(drop=True)
    flat = [window for found in windows for window in found]
    columns: dict[str, Any] = {
        "example_id": [a + b.suffix for a, b in zip(cut["source_id"], flat, strict=True)],
        "label": cut["label"],
        "source_id": cut["source_id"],
        "source_paths": [list(paths) for paths in cut["source_paths"]],
    }
    own = (*WINDOW, *TILE) if settings.tile is not None else WINDOW
    for name in own:
        columns[name] = np.array([getattr(window, name) for window in flat], dtype=np.int64)
    columns["image_sha256"] = [facts[key].sha256 for key in cut["source_id"]]
    columns["image_crc32c"] = np.array([facts[key].crc32c for key in cut["source_id"]], np.int64)
    boxes = BOX_COLUMNS if settings.labels == "boxes" else ()
    for name in (*sources.metadata, *boxes):
        columns.setdefault(name, cut[name])
    return pd.DataFrame(columns)


def ordered(examples: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Train, validation, test. The images of train stand in random order, so that any stretch of
    a shard holds a mix of classes; windows of one image stay together, as it is read once."""
    rank = examples["split"].map({name: place for place, name in enumerate(SPLITS)})
    draws = {name: split.draw(seed, name) for name in examples["source_id"].unique()}
    shuffled = sorted(draws, key=lambda name: draws[name])
    place = {name: number for number, name in enumerate(shuffled)}
    within = examples["source_id"].map(place).where(examples["split"] == "train", 0)
    order = np.lexsort((np.arange(len(examples)), within, rank))
    return examples.iloc[order].reset_index(drop=True)


def sharded(
    examples: pd.DataFrame, name: str, per_shard: int, first: Mapping[str, int] = NO_SHARDS
) -> pd.DataFrame:
    """The examples with the file that each goes to and its place there; shards of like length.

    The shards of each split count up from `first`.
    """
    shards: list[str] = []
    places: list[int] = []
    for part in SPLITS:
        count = int((examples["split"] == part).sum())
        number = -(-count // per_shard)
        for place, rows in enumerate(np.array_split(np.arange(count), number) if number else []):
            shards += [shard_name(name, part, first.get(part, 0) + place)] * len(rows)
            places += range(len(rows))
    return examples.assign(shard=shards, index=places)


def shard_name(name: str, part: str, number: int) -> str:
    """The file of a split's shard: a number that stays, however many shards come later."""
    return f"{name}-{part}.tfrecord-{number:05}"


def shard_place(file: str) -> tuple[str, int] | None:
    """The split and number of a shard's file name; None where the name is not that of a shard."""
    match = _SHARD_NAME.fullmatch(file)
    return (match[1], int(match[2])) if match else None


def _image_windows(
    source_ids: Sequence[str],
    facts: Mapping[str, ImageFacts],
    settings: ConversionSettings,
    problems: list[Problem],
) -> list[list[Window]]:
    windows = []
    for source_id in source_ids:
        height_px, width_px = facts[source_id].height_px, facts[source_id].width_px
        found = image_windows(height_px, width_px, settings)
        if not found:
            unit = f"a crop of {settings.crop_px} px" if settings.crop_px else "that many tiles"
            unit += " on an exclusive lattice" if settings.lattice == "exclusive" else ""
            reason = f"{height_px} x {width_px} px, too small for {unit}; leave it out"
            problems.append(Problem(source_id, reason))
        windows.append(found)
    return windows


def _annotated_windows(
    rows: pd.DataFrame,
    facts: Mapping[str, ImageFacts],
    settings: ConversionSettings,
    sources: Sources,
) -> list[list[Window]]:
    """The window of each item's frame; of frames that a rule labels the crops that touch none."""
    windows: list[list[Window]] = []
    if rows.empty:  # without a single item there are no columns of items
        return windows
    columns = ("source_id", "item", *WINDOW)
    for source_id, item, *place in zip(*(rows[name] for name in columns), strict=True):
        fact = facts[source_id]
        if item is None:
            lattice = image_windows(fact.height_px, fact.width_px, settings)
            seen = sources.windows.get(source_id, ())
            windows.append([one for one in lattice if not any(overlap(one, two) for two in seen)])
            continue
        window = item_window(source_id, item, place, (fact.height_px, fact.width_px))
        whole = Window(0, 0, fact.height_px, fact.width_px)
        inside = (overlap if sources.beyond_border else contains)(whole, window)
        windows.append([window] if inside else [])
        if not inside:
            where = ", ".join(
                f"{name} {value}" for name, value in zip(WINDOW, window, strict=False)
            )
            reason = (
                f"its window ({where}) leaves the frame ({fact.width_px} wide, {fact.height_px} "
                "high); correct it"
            )
            sources.problems.append(Problem(f"{settings.annotations}, item {item}", reason))
    return windows


def _box_windows(
    rows: pd.DataFrame,
    facts: Mapping[str, ImageFacts],
    settings: ConversionSettings,
    problems: list[Problem],
) -> list[list[Window]]:
    """One window per box, numbered within its image; none for a box that cannot be."""
    windows: list[list[Window]] = []
    numbers: dict[str, int] = {}
    columns = ("source_id", ROW_NUMBER, *BOX_COLUMNS)
    for source_id, row_number, *edges in zip(*(rows[name] for name in columns), strict=True):
        box, fact = Box(*edges), facts[source_id]
        numbers[source_id] = numbers.get(source_id, 0) + 1
        inside = box.xmin >= 0 and box.ymin >= 0
        inside = inside and box.xmax <= fact.width_px and box.ymax <= fact.height_px
        if inside and box.xmin < box.xmax and box.ymin < box.ymax:
            window = box_window(box, settings.context, settings.box_px)
            windows.append([window._replace(suffix=f"_box{numbers[source_id]}")])
            continue
        windows.append([])
        # A box that is no four numbers has been named already.
        if not any(edge != edge for edge in edges):
            fault = (
                "is empty"
                if inside
                else f"leaves the image ({fact.width_px} wide, {fact.height_px} high)"
            )
            where = ", ".join(f"{name} {edge:g}" for name, edge in box._asdict().items())
            reason = (
                f"row {int(row_number)} of {settings.table}: the box ({where}) {fault}; correct it"
            )
            problems.append(Problem(source_id, reason))
    return windows
