"""Shared by all tests: the place of the real data, and quiet, CPU-only TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browser import chromium, open_page
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("MPLBACKEND", "Agg")

__all__ = ["chromium", "open_page"]

# A loaded machine is slow, not wrong.
settings.register_profile("deadlib", deadline=None, derandomize=True)
settings.load_profile("deadlib")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of small real image sets, which lies beside the checkout on some machines."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"REAL DATA NOT TESTED: {folder} not found")
    return folder
