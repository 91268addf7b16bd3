"""A log of made-up annotators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def write_log(tmp_path: Path) -> Callable[..., Path]:
    """write_log(annotators, overlap, items) -> a CSV of 12 positions; more sick at higher doses."""

    def write_log(
        annotators: tuple[str, ...] = ("Anna", "Bo"), overlap: int = 2, items: int = 240
    ) -> Path:
        rng = np.random.default_rng(0)
        rows = []
        for item in range(items):
            position = item % 12
            truth = rng.random() < position / 14
            ambiguous = rng.random() < 0.3
            for who in rng.permutation(annotators)[: 1 + (item % overlap)]:
                sick = rng.random() < 0.5 if ambiguous else truth
                unsure = rng.random() < (0.2 if ambiguous else 0.02)
                said = "Unsure" if unsure else "Sick" if sick else "Healthy"
                rows.append(
                    {
                        "annotator": who, "item": f"item{item}", "position": f"p{position:02d}",
                        "light_dose_s": 10 * (position // 2), "top_px": 256 * item, "left_px": 0,
                        "height_px": 256, "width_px": 256, "first_frame": 0, "frames": 10,
                        "response": said,
                    }
                )  # fmt: skip
        path = tmp_path / "annotations.csv"
        pd.DataFrame(rows).to_csv(path, index=False)
        return path

    return write_log


@pytest.fixture
def panel_log() -> Callable[..., pd.DataFrame]:
    """panel_log(...) -> events of a panel as `Panel.log` returns them, from a known crowd.

    Each annotator answers `items` items, is right with the share `skill`, and says class 0 more
    and more often where `drifting` names them; every tenth item comes again later.
    """

    def panel_log(
        annotators: tuple[str, ...] = ("Anna", "Bo", "Cy"),
        *,
        items: int = 100,
        classes: tuple[str, ...] = ("healthy", "apoptotic", "ferroptotic"),
        skill: float = 0.8,
        drifting: tuple[str, ...] = (),
        **columns: Callable[[int], object],
    ) -> pd.DataFrame:
        rng = np.random.default_rng(1)
        truth = rng.integers(0, len(classes), items)
        rows: list[dict[str, object]] = []
        for who in annotators:
            order = [(int(item), "fresh") for item in rng.permutation(items)]
            for place in range(9, items, 10):
                order.append((order[place][0], "repeat"))
            for number, (item, served) in enumerate(order, start=1):
                said = truth[item] if rng.random() < skill else rng.integers(0, len(classes))
                if who in drifting and rng.random() < number / len(order):
                    said = 0
                rows.append(
                    {
                        "annotator": who, "item": f"item {item}", "serving": f"{who}{number}",
                        "number": number, "served": served, "withdrawn": False,
                        "response": "unsure" if rng.random() < 0.03 else classes[said],
                        "seconds": float(rng.lognormal(1, 0.5)),
                        "timestamp": "2026-01-01T00:00:00",
                        **{name: value(item) for name, value in columns.items()},
                    }
                )  # fmt: skip
        return pd.DataFrame(rows)

    return panel_log
