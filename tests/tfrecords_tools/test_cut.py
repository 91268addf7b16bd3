"""Windows and what is read in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords_tools.cut import (
    Box,
    Window,
    box_window,
    grid_windows,
    image_windows,
    read_window,
    sliding_windows,
)
from tfrecords_tools.images import read_image
from tfrecords_tools.settings import ConversionSettings


def test_a_frame_of_the_deadnet_microscope_gives_63_crops() -> None:
    windows = sliding_windows(1024, 1344, crop_px=256, stride_px=128)
    assert len(windows) == 63
    assert max(window.top_px + 256 for window in windows) == 1024
    assert max(window.left_px + 256 for window in windows) == 1280
    assert len({window.suffix for window in windows}) == 63


def test_the_exclusive_lattice_loses_the_last_row_and_gives_the_published_54() -> None:
    settings = ConversionSettings(crop_px=256, stride_px=128, lattice="exclusive")
    windows = image_windows(1024, 1344, settings)
    assert len(windows) == 54
    assert max(window.top_px for window in windows) == 640
    assert max(window.left_px for window in windows) == 1024
    assert set(windows) < set(sliding_windows(1024, 1344, 256, 128))


def test_crops_of_annotated_sequences_do_not_overlap_and_are_20() -> None:
    windows = image_windows(1024, 1344, ConversionSettings(crop_px=256, stride_px=256))
    assert len(windows) == 20
    assert len({(window.top_px // 256, window.left_px // 256) for window in windows}) == 20


def test_an_image_of_the_size_of_the_crop_has_no_place_on_an_exclusive_lattice() -> None:
    assert image_windows(64, 65, ConversionSettings(crop_px=64, lattice="exclusive")) == []
    assert len(image_windows(65, 65, ConversionSettings(crop_px=64, lattice="exclusive"))) == 1


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 7), st.integers(1, 7))
def test_tiles_are_equal_and_never_overlap(
    height: int, width: int, rows: int, columns: int
) -> None:
    covered = np.zeros((height, width), dtype=int)
    windows = grid_windows(height, width, rows, columns)
    for window in windows:
        assert (window.height_px, window.width_px) == (height // rows, width // columns)
        covered[
            window.top_px : window.top_px + window.height_px,
            window.left_px : window.left_px + window.width_px,
        ] += 1
    assert covered.max() <= 1
    # Less than one row of tiles is dropped at the lower edge, and one column at the right.
    assert covered.sum() == (rows * (height // rows)) * (columns * (width // columns))
    assert len(windows) == (rows * columns if height >= rows and width >= columns else 0)


def test_tiles_are_named_row_first_from_one() -> None:
    names = [window.suffix for window in grid_windows(4, 6, 2, 3)]
    assert names == ["_01_01", "_01_02", "_01_03", "_02_01", "_02_02", "_02_03"]


def test_tiles_equal_the_published_ones_pixel_for_pixel(real_data: Path) -> None:
    folder = real_data / "celldeath_u2os"
    if not folder.is_dir():
        pytest.skip(f"REAL DATA NOT TESTED: {folder} not found")
    name = "U2_DMSO2_1H_RGB_0052_N3.png"
    image = read_image(folder / "images" / name)
    windows = grid_windows(*image.shape[:2], 2, 2)
    assert len(windows) == 4
    for window in windows:
        published = read_image(folder / "published_tiles" / f"{name}{window.suffix}.png")
        np.testing.assert_array_equal(read_window(image, window), published)


@settings(deadline=None)
@given(
    st.integers(0, 80), st.integers(0, 80), st.integers(1, 40), st.integers(1, 40), st.floats(0, 2)
)
def test_a_box_lies_centred_inside_its_window(
    left: int, top: int, width: int, height: int, context: float
) -> None:
    window = box_window(Box(left, top, left + width, top + height), context)
    assert window.height_px == window.width_px
    assert window.height_px >= max(width, height) * (1 + context) - 1e-3
    assert window.top_px <= top
    assert window.top_px + window.height_px >= top + height
    assert window.left_px <= left
    assert window.left_px + window.width_px >= left + width
    assert abs(window.top_px + window.height_px / 2 - (top + height / 2)) <= 0.5
    assert abs(window.left_px + window.width_px / 2 - (left + width / 2)) <= 0.5


def test_a_window_of_fixed_size_ignores_the_size_of_the_box() -> None:
    assert box_window(Box(10, 10, 14, 12), box_px=8) == Window(7, 8, 8, 8)


@settings(deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(-12, 12),
    st.integers(-12, 12),
    st.integers(1, 14),
)
def test_outside_the_image_its_mirror_is_read(
    height: int, width: int, top: int, left: int, side: int
) -> None:
    image = np.arange(height * width * 2, dtype=np.uint16).reshape(height, width, 2)
    margin = 40
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    expected = padded[margin + top : margin + top + side, margin + left : margin + left + side]
    found = read_window(image, Window(top, left, side, side))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == image.dtype


def test_an_image_smaller_than_the_crop_gives_no_window() -> None:
    settings = ConversionSettings(crop_px=64)
    assert image_windows(63, 200, settings) == []
    assert len(image_windows(64, 200, settings)) == 3
