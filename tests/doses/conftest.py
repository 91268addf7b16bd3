"""A screen whose truth is known: three plates, controls, compounds that kill in two ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

CLASSES = ("apoptosis", "ferroptosis", "healthy")
DOSES = np.geomspace(0.01, 100, 9)
TRUTH = {"Erastin": ("ferroptosis", 1.0), "Stauro": ("apoptosis", 0.3), "Inert": ("", 1.0)}


def screen_of(plates: int = 3, seed: int = 0, fields: int = 2) -> pd.DataFrame:
    """One row per field: 12 DMSO wells a plate, one well per compound and dose."""
    rng = np.random.default_rng(seed)
    rows = []
    for plate in range(plates):
        wells = [("DMSO", np.nan)] * 12 + [(name, dose) for name in TRUTH for dose in DOSES]
        for number, (compound, dose) in enumerate(wells):
            way, half = TRUTH.get(compound, ("", 1.0))
            share = 1 / (1 + (half / dose) ** 1.6) if way else 0.0
            viability = 1 - 0.8 * share
            for field in range(fields):
                logits = np.array([-1.5, -1.5, 2.0]) + rng.normal(0, 0.4, 3)
                if way:
                    logits[CLASSES.index(way)] += 5.5 * share
                    logits[2] -= 4.5 * share
                rows.append(
                    {
                        "plate": f"P{plate + 1}",
                        "well": f"{'ABCDEFGH'[number // 12]}{number % 12 + 1:02d}",
                        "field": field + 1,
                        "treatment": compound,
                        "concentration_um": dose,
                        "viability": viability,
                    }
                    | dict(zip((f"probability_{c}" for c in CLASSES), softmax(logits), strict=True))
                )
    return pd.DataFrame(rows)


@pytest.fixture
def screen() -> pd.DataFrame:
    return screen_of()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[pd.DataFrame], Path]:
    def write(frame: pd.DataFrame) -> Path:
        frame.to_csv(tmp_path / "screen.csv", index=False)
        return tmp_path / "screen.csv"

    return write
