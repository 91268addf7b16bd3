"""Figures of any number of classes: drawn without a warning, described in words."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from deadlib.bootstrap import Estimate
from deadlib.evaluation import figures


def level_of(classes):
    """As many classes, each called right 80 times, the first called the second 20 times."""
    counts = 80 * np.eye(len(classes), dtype=int)
    counts[0, 1] = 20
    shares = counts / counts.sum(axis=1, keepdims=True)
    return SimpleNamespace(
        class_counts=dict(zip(classes, counts.sum(axis=1).tolist(), strict=True)),
        counts=counts.tolist(),
        shares=[[Estimate(float(share)) for share in row] for row in shares],
    )


@pytest.mark.parametrize("size", [2, 9, 60])
def test_a_confusion_matrix_says_the_same_in_words(size):
    classes = [f"line {k}" for k in range(size)]
    drawn = figures.confusion_matrix("confusion", level_of(classes), classes, "images")
    assert "line 0 called line 0: 80 %" in drawn.alt
    assert "line 0 called line 1: 20 %" in drawn.alt
    assert drawn.png.startswith(b"\x89PNG")
    assert len(drawn.svg) < 2_000_000


@pytest.mark.parametrize("size", [2, 14, 60])
def test_classes_of_each_value_are_drawn_however_many(size):
    classes = [f"line {k}" for k in range(size)]
    counts = np.ones((3, size), int).tolist()
    drawn = figures.classes_by_value("it", "experiment", ["N1", "N2", "N3"], counts, classes)
    assert "N2: 1 line 0" in drawn.alt
