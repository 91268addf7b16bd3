"""Made-up tables of predictions whose batch effect is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from embedded_screen import screen


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(frame=None, name="predictions.parquet", **screen) -> path."""

    def write(
        frame: pd.DataFrame | None = None, name: str = "predictions.parquet", **setting: object
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (screen(**setting) if frame is None else frame).to_parquet(path)
        return path

    return write
