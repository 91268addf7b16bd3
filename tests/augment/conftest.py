from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Six smooth square images of two channels, in unit range."""
    rng = np.random.default_rng(0)
    rows, columns = np.meshgrid(np.linspace(0, 3, 24), np.linspace(0, 3, 24), indexing="ij")
    waves = rng.uniform(0.5, 2, (6, 1, 1, 2, 2))
    phase = rows[..., None] * waves[..., 0] + columns[..., None] * waves[..., 1]
    return (0.5 + 0.4 * np.sin(phase)).astype(np.float32)


@pytest.fixture(scope="session")
def seed() -> np.ndarray:
    return np.array([20, 26], np.int32)
