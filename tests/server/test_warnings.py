"""What an answer warns of, by the image's size and what the model learnt from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from deadlib.server.models import warnings_about
from deadlib.serving import Bundle


def resizing(window: tuple[int, int] | None) -> Bundle:
    described = {"input": {"normalise": "per_image"}}
    return cast(Bundle, SimpleNamespace(window_px=window, fit="resize", description=described))


@pytest.mark.parametrize(("side", "word"), [(10, "larger"), (128, "larger"), (512, "smaller")])
def test_cells_of_another_size_than_those_learnt_are_told_of(side: int, word: str) -> None:
    (warning,) = warnings_about(resizing((256, 256)), np.zeros((side, side, 1)))
    assert f"the image has {side} x {side} px" in warning
    assert f"far {word}" in warning


@pytest.mark.parametrize("side", [129, 256, 511])
def test_about_the_same_size_is_not(side: int) -> None:
    assert list(warnings_about(resizing((256, 256)), np.zeros((side, side, 1)))) == []


def test_a_model_that_learnt_from_several_sizes_says_nothing_of_them() -> None:
    assert list(warnings_about(resizing(None), np.zeros((10, 10, 1)))) == []
