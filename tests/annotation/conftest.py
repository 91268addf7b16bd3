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
