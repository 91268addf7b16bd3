"""Another split, and other classes, of a dataset that is converted already.

A view changes what the manifest says of split, label and group; shards and rows stay as they are.
So one dataset serves a whole family of experiments: each cell line left out in turn, each hour
alone, cross-validation. What it gives is audited as a conversion is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tfrecords_tools import split
from tfrecords_tools.append import known_looks
from tfrecords_tools.dataset import Dataset
from tfrecords_tools.errors import PlanError
from tfrecords_tools.plan import (
    audited,
    blank_pixels,
    class_counts,
    held_out,
    picture_identities,
    tell_similar,
    to_be_joined,
)
from tfrecords_tools.rules import parse_conditions
from tfrecords_tools.settings import SPLITS, ConversionSettings
from tfrecords_tools.similar import known_similar, similar_json
from tfrecords_tools.sources import natural_key
from tfrecords_tools.table import PLACE_COLUMNS

TRAIN, _, TEST = SPLITS
CALIBRATION = "calibration"
ALL_SPLITS = (*SPLITS, CALIBRATION)
REST = (0.7, 0.3, 0.0)
"""Shares of what is neither held out nor the fold at hand."""


@dataclass(frozen=True)
class View:
    """What is asked of a dataset. All as it is: the conversion's own splits and labels.

    where: conditions `column OP value`; every example must meet all. learn_from: the same for
    training and validation only; a class that only the test has counts as unknown. label: columns
    whose values, joined by a space, are the class. by: columns that never cross splits, `example`
    for none; empty: the conversion's groups. hold_out: `[split:]column=value`. fractions: of train,
    validation and test, of what is not held out. calibration: the share of the training examples
    that is set apart, in whole groups, as the split `calibration`. folds, fold: so many equal parts
    of all groups, classes alike in each; the one of that number (from 0) is the test split.
    """

    where: tuple[str, ...] = ()
    learn_from: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    hold_out: tuple[str, ...] = ()
    fractions: tuple[float, float, float] | None = None
    calibration: float = 0.0
    folds: int | None = None
    fold: int = 0
    seed: int = 0

    @property
    def splits_anew(self) -> bool:
        """Whether the conversion's splits give way to others."""
        asked = (self.by, self.hold_out, self.fractions, self.folds)
        return any(item not in ((), None) for item in asked)

    @property
    def changes_nothing(self) -> bool:
        return replace(self, seed=0, fold=0) == View()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: what differs from the conversion's own."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }


@dataclass(frozen=True)
class ViewedDataset(Dataset):
    """A dataset as a view sees it; from `viewed`. Rows that it leaves out have a null split."""

    view: View
    examples: pd.DataFrame

    @property
    def manifest(self) -> pd.DataFrame:
        return self.examples

    @cached_property
    def manifest_table(self) -> pa.Table:
        table = super().manifest_table
        for name in ("split", "label", "group"):
            column = pa.array(self.examples[name].astype(object).where(self.examples[name].notna()))
            place = table.column_names.index(name)
            table = table.set_column(place, name, column.cast(pa.string()))
        return table

    @property
    def splits(self) -> list[str]:
        return [name for name in ALL_SPLITS if (self.examples["split"] == name).any()]


def viewed(dataset: Dataset, view: View) -> Dataset:
    """The dataset as a view sees it; itself where the view changes nothing.

    Its fingerprint is that of the dataset, as its files are.

    Raises PlanError where the view does not fit the dataset (an unknown column, no example left, a
    class without training examples), LeakError where a group or identical images would stand in
    two splits.
    """
    if view.changes_nothing:
        return dataset
    _check(view)
    examples = _chosen(relabelled(dataset.manifest, view), view)
    learnt = _meets(examples, view.learn_from, "learn_from")
    names = sorted(examples["label"][learnt].dropna().unique(), key=natural_key)
    classes = [name for name in dataset.classes if name in names] if not view.label else names
    examples["label"] = examples["label"].where(examples["label"].isin(classes), None)
    looks = known_looks(dataset, examples)
    settings = ConversionSettings.from_json(dataset.info["settings"])
    by, joined = list(dataset.info["split"]["by"]), 0
    similar = known_similar(dataset.info)
    if view.splits_anew:
        settings = replace(
            settings,
            split_by=view.by or settings.split_by,
            fractions=view.fractions or REST,
            hold_out=view.hold_out,
            seed=view.seed,
        )
        if view.by:
            by = list(split.group_columns(view.by, [str(name) for name in examples]))
            identities = picture_identities(examples, blank_pixels(examples, looks), by)
            named = list(split.group_names(examples, by))
            groups, sets = split.join_identical(
                named, identities, together=to_be_joined(similar, examples, named, settings)
            )
            examples["group"], joined = groups, len(sets)
        examples["split"] = _assigned(examples, view, settings)
    examples = examples[learnt | (examples["split"] == TEST)].copy()
    if view.calibration:
        examples["split"] = _set_apart(examples, view)
    metadata = [
        str(name) for name in examples if name not in PLACE_COLUMNS and name not in view.label
    ]
    split_info, findings = audited(
        examples,
        by,
        metadata,
        looks,
        settings,
        joined,
    )
    alike = similar_json(similar, examples, settings.join_similar)
    tell_similar(alike, split_info, findings)
    split_info["counts"] = _counts(examples, classes)
    split_info["groups"] = {
        name: int(examples["group"][examples["split"] == name].nunique())
        for name in split_info["counts"]
    }
    frame = dataset.manifest.copy()
    for name in ("split", "label", "group"):
        frame[name] = examples[name].reindex(frame.index).astype(object)
        frame[name] = frame[name].where(frame[name].notna(), None)
    info = dataset.info | {
        "classes": classes,
        "split": split_info | {"view": view.to_json()},
        "audit": dataset.info["audit"] | findings,
        "similar": alike,
    }
    return ViewedDataset(dataset.folder, info, view, frame)


def relabelled(manifest: pd.DataFrame, view: View) -> pd.DataFrame:
    """The manifest with the classes of the view; null where a column is. Raises PlanError."""
    frame = manifest.copy()
    if not view.label:
        return frame
    for name in view.label:
        split.check_column(name, [str(column) for column in frame.columns], "label")
    texts = [frame[name].map(split.as_text) for name in view.label]
    joined = [
        None if any(part is None or part != part for part in parts) else " ".join(parts)
        for parts in zip(*texts, strict=True)
    ]
    frame["label"] = pd.Series(joined, index=frame.index, dtype=object)
    return frame


def _check(view: View) -> None:
    folds = view.folds
    if folds is not None and (folds < 2 or not 0 <= view.fold < folds):
        raise PlanError(
            f"fold {view.fold} of {folds}: expected at least 2 folds, and a fold from 0 to "
            "one less than there are"
        )
    if folds is not None and view.hold_out:
        raise PlanError("folds and hold_out both choose the test split; leave one of them out")
    if not 0 <= view.calibration < 1:
        raise PlanError(f"calibration: {view.calibration:g}; expected a share from 0 to below 1")


def _chosen(frame: pd.DataFrame, view: View) -> pd.DataFrame:
    """The examples that meet all conditions of the view."""
    return frame[_meets(frame, view.where, "where")].copy()


def _meets(frame: pd.DataFrame, texts: tuple[str, ...], key: str) -> NDArray[np.bool_]:
    """Which examples (N,) meet all conditions. Raises PlanError where none does."""
    conditions = [condition for text in texts for condition in parse_conditions(text, key)]
    keep = np.ones(len(frame), bool)
    for condition in conditions:
        split.check_column(condition.column, [str(name) for name in frame], key)
        values = frame[condition.column].map(split.as_text)
        keep &= np.array([condition.holds({condition.column: value}) for value in values], bool)
    if not keep.any():
        raise PlanError(f"{key} {' and '.join(texts)}: no example meets this")
    return keep


def _assigned(examples: pd.DataFrame, view: View, settings: ConversionSettings) -> list[str]:
    """The split of each example."""
    fixed = (
        held_out(examples, settings) if view.folds is None else _fold(examples, view, view.folds)
    )
    assigned = split.assign_splits(class_counts(examples), settings.fractions, settings.seed, fixed)
    return [assigned[group] for group in examples["group"]]


def _fold(examples: pd.DataFrame, view: View, folds: int) -> dict[str, str]:
    """The groups of the fold at hand, as test."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = examples["group"].to_numpy(str)
    if len(np.unique(groups)) < folds:
        raise PlanError(
            f"{folds} folds need as many groups, found {len(np.unique(groups))}; ask for "
            "fewer folds, or split by something finer"
        )
    # by name, so that the folds do not depend on the order of the examples
    order = np.argsort(groups, kind="stable")
    labels = examples["label"].fillna("").to_numpy(str)
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=view.seed).split(
        order, labels[order], groups[order]
    )
    _, test = list(parts)[view.fold]
    return dict.fromkeys(np.unique(groups[order][test]).tolist(), TEST)


def _set_apart(examples: pd.DataFrame, view: View) -> pd.Series:
    """The splits, some of the training groups as calibration."""
    training = examples[examples["split"] == TRAIN]
    assigned = split.assign_splits(
        class_counts(training), (1 - view.calibration, view.calibration, 0.0), view.seed
    )
    apart = [group for group, place in assigned.items() if place != TRAIN]
    if not apart or len(apart) == len(assigned):
        raise PlanError(
            f"calibration: {view.calibration:g} of {len(assigned)} training groups leaves one of "
            "both parts without any; give another share, or split by something finer"
        )
    found: pd.Series = examples["split"].mask(
        (examples["split"] == TRAIN) & examples["group"].isin(apart), CALIBRATION
    )
    return found


def _counts(examples: pd.DataFrame, classes: list[str]) -> dict[str, dict[str, int]]:
    labels = examples["label"].fillna("unlabelled")
    names = [*classes, *(["unlabelled"] if examples["label"].isna().any() else [])]
    there = set(examples["split"])
    return {
        place: {
            name: int(((examples["split"] == place) & (labels == name)).sum()) for name in names
        }
        for place in ALL_SPLITS
        if place in there or place != CALIBRATION
    }
