"""Tiny simulations, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deadlib.simulation import simulate

TINY: dict[str, dict[str, Any]] = {
    "phase": {"positions": 8, "positions_per_well": 1, "frames": 2, "pixel_um": 1.0},
    "transmitted": {"experiments": 2, "wells": 1, "fields": 1, "lines": ("U2", "H9")},
    "painting": {"plates": 1, "inducers": 1, "controls": 2, "fields": 1},
}
SIZE = {"width": 96, "height": 80}


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One tiny simulation of each modality, by its name."""
    folder = tmp_path_factory.mktemp("simulated")
    return {
        modality: simulate(modality, folder / modality, seed=3, **SIZE, **parameters)
        for modality, parameters in TINY.items()
    }
