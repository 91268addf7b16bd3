"""Made-up prediction tables of known quality."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deadlib.evaluation import figures
from deadlib.pages.drawing import Drawing

METADATA = {
    "run": "runs/first",
    "versions": {"deadlib": "0.1.0", "tensorflow": "2.21.0"},
    "command": {
        "convert": "deadlib-convert images dataset",
        "train": "deadlib-train recipe.yaml",
        "predict": None,
    },
    "recipe": {"validation": {"metric": "balanced_accuracy"}},
    "history": [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "validation_loss": 1.2 / epoch,
            "validation_balanced_accuracy": 0.9 - 0.1 * abs(epoch - 2),
        }
        for epoch in (1, 2, 3)
    ],
    "card": {
        "name": "cells",
        "examples": 300,
        "image_sizes": [{"height_px": 64, "width_px": 64, "images": 300}],
        "intensity": {"phase": {"low": 3, "high": 60000, "dtypes": ["uint16"]}},
        "confounding": [],
        "warnings": ["a warning from the card"],
        "skipped": [{"path": "broken.png", "reason": "truncated"}],
    },
    "split": {
        "by": ["well"],
        "seed": 0,
        "proof": ["20 groups (well), none in two splits"],
        "counts": {"train": {"living": 100, "dead": 100}, "test": {"living": 50, "dead": 50}},
    },
    "kept_epoch": 3,
    "fingerprint": "abc",
    "trained_on_fingerprint": "abc",
    "seen_in_training": 0,
}

Tables = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def table() -> Tables:
    """make(classes, groups, per_group, separation, seed): `groups` wells on two plates."""

    def make(
        classes: tuple[str, ...] = ("living", "dead"),
        groups: int = 24,
        per_group: int = 6,
        separation: float = 2.0,
        seed: int = 0,
    ) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(groups), per_group)
        class_index = group % len(classes)
        logits = rng.normal(0, 1, (len(group), len(classes)))
        logits += rng.normal(0, 0.7, (groups, len(classes)))[group]
        logits[np.arange(len(group)), class_index] += separation
        powers = np.exp(logits)
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        frame = pd.DataFrame(
            {
                "example_id": [f"well{g}/field{i % per_group}" for i, g in enumerate(group)],
                "split": "test",
                "label": [classes[k] for k in class_index],
                "group": [f"well{g}" for g in group],
                "plate": [f"plate{g // len(classes) % 2}" for g in group],
            }
        )
        for k, name in enumerate(classes):
            frame[f"probability_{name}"] = probabilities[:, k]
        return frame

    return make


@pytest.fixture(scope="session")
def write_table() -> Callable[..., Path]:
    """write_table(path, frame, metadata=None): Parquet or CSV by the name."""

    def write_table(
        path: Path, frame: pd.DataFrame, metadata: Mapping[str, Any] | None = None
    ) -> Path:
        if path.suffix == ".csv":
            frame.to_csv(path, index=False)
            return path
        found = pa.Table.from_pandas(frame, preserve_index=False)
        if metadata is not None:
            found = found.replace_schema_metadata({b"deadlib": json.dumps(metadata).encode()})
        pq.write_table(found, path)
        return path

    return write_table


@pytest.fixture
def write(tmp_path: Path, write_table: Callable[..., Path]) -> Callable[..., Path]:
    """write(frame, metadata=None, name="predictions.parquet") -> path in a new folder."""

    def write(
        frame: pd.DataFrame,
        metadata: Mapping[str, Any] | None = None,
        name: str = "predictions.parquet",
    ) -> Path:
        return write_table(tmp_path / name, frame, metadata)

    return write


@pytest.fixture(scope="session")
def full_metadata() -> Mapping[str, Any]:
    """All that deadlib-predict tells of a run; not to be changed."""
    return METADATA


@pytest.fixture
def metadata() -> dict[str, Any]:
    """The same, to be changed."""
    return copy.deepcopy(METADATA)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of a report, and most tests look at its words."""
    for name, function in vars(figures).items():
        if getattr(function, "__annotations__", {}).get("return") == "Drawing":
            monkeypatch.setattr(figures, name, lambda *_: Drawing("none", "none", b"", b""))
