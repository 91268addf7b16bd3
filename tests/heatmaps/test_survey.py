"""Frames that cannot be used, and frames that may mislead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from deadlib.errors import InputError
from deadlib.heatmaps.frames import MappedFrame, open_frame, samples
from deadlib.heatmaps.movie import Moment, Position
from deadlib.heatmaps.survey import Survey, check_bad, look_at, saturated_share, structure, survey
from deadlib.simulation import simulate
from tfrecords_tools.errors import ImageError
from tfrecords_tools.images import read_image

RANDOM = np.random.default_rng(0)


def cells(shape: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Something with structure, as uint16."""
    rows, columns = np.indices(shape)
    waves = np.sin(rows / 5) * np.sin(columns / 7)
    return (3000 + 800 * waves + 30 * RANDOM.standard_normal(shape)).astype(np.uint16)


def surveyed(folder: Path, frames: list[np.ndarray]) -> Survey:
    moments = []
    for place, frame in enumerate(frames):
        path = folder / f"t{place}.tif"
        tifffile.imwrite(path, frame)
        moments.append(Moment(place, place / 2, (str(path),)))
    return survey(Position("P1", tuple(moments), (), {}), lambda: None)


def test_frames_that_are_alike_raise_no_doubt(tmp_path: Path) -> None:
    found = surveyed(tmp_path, [cells(), cells()])
    assert found.bad == found.notes == ()
    assert [look.marks for look in found.looks] == [(), ()]


def test_a_frame_of_another_size_is_bad(tmp_path: Path) -> None:
    found = surveyed(tmp_path, [cells(), cells(), cells((96, 100))])
    assert [moment.time_index for moment in found.moments] == [0, 1]
    assert "frame 2 (1 h)" in found.bad[0]
    assert "is 96 x 100 px" in found.bad[0]
    assert "expected 96 x 128 px" in found.bad[0]


def test_a_frame_of_another_depth_is_bad(tmp_path: Path) -> None:
    found = surveyed(tmp_path, [cells(), (cells() // 16).astype(np.uint8), cells()])
    assert "uint8, expected 96 x 128 px (rows x columns), 1 channels, uint16" in found.bad[0]


def test_a_frame_that_is_cut_is_bad(tmp_path: Path) -> None:
    found = surveyed(tmp_path, [cells(), cells()])
    path = tmp_path / "t1.tif"
    path.write_bytes(path.read_bytes()[:-2000])
    moments = (Moment(0, 0.0, (str(tmp_path / "t0.tif"),)), Moment(1, 0.5, (str(path),)))
    found = survey(Position("P1", moments, (), {}), lambda: None)
    assert len(found.moments) == 1
    assert "t1.tif" in found.bad[0]


def test_bad_frames_stop_the_work_unless_skipped() -> None:
    with pytest.raises(
        InputError, match=r"1 frames cannot be used: it is cut.*--on-bad-frame skip"
    ):
        check_bad(["it is cut"], skip=False)
    check_bad(["it is cut"], skip=True)


@pytest.mark.parametrize(("depth", "highest"), [(8, 255), (12, 4095), (14, 16383), (16, 65535)])
def test_the_end_of_the_scale_is_that_of_the_sensor(depth: int, highest: int) -> None:
    dtype = np.uint8 if depth == 8 else np.uint16
    frame = RANDOM.integers(10, highest - 1, (100, 100)).astype(dtype)
    frame[:5] = highest
    assert saturated_share([frame]) == 0.05


def test_the_brightest_pixels_of_a_good_frame_are_not_saturated() -> None:
    frame = cells()
    frame[:20] = 5000
    assert saturated_share([frame]) == 0


def test_a_saturated_frame_is_told(tmp_path: Path) -> None:
    bright = np.where(cells() > 3300, 4095, cells()).astype(np.uint16)
    found = surveyed(tmp_path, [cells(), bright])
    assert [look.marks for look in found.looks] == [(), ("saturated",)]
    assert "1 of 2 frames have more than 1 % of their pixels at the end" in found.notes[0]
    assert "frame 1 (0.5 h)" in found.notes[0]


@pytest.mark.parametrize("noise", [0.0, 0.3, 5.0, 200.0])
def test_noise_and_shading_are_no_structure(noise: float) -> None:
    rows, columns = np.indices((200, 240))
    shading = 3000 + 2 * rows + 0.01 * columns**2
    frame = shading + noise * RANDOM.standard_normal(shading.shape)
    assert structure(np.rint(frame).astype(np.uint16)) < 3


def test_cells_of_the_simulator_are_structure_and_an_empty_field_is_none(tmp_path: Path) -> None:
    for name, density in (("cells", 300.0), ("empty", 0.0)):
        simulate("phase", tmp_path / name, positions=6, frames=1, plates=1, density=density)
    full = [look_at(read_image(path)) for path in (tmp_path / "cells/images").iterdir()]
    empty = [look_at(read_image(path)) for path in (tmp_path / "empty/images").iterdir()]
    assert all("empty" not in look.marks for look in full)
    # debris lies on some of the empty fields, too
    assert sum("empty" in look.marks for look in empty) >= 4


def test_an_empty_position_is_told(tmp_path: Path) -> None:
    blank = (3000 + 30 * RANDOM.standard_normal((96, 128))).astype(np.uint16)
    found = surveyed(tmp_path, [blank, blank])
    assert "2 of 2 frames show nearly no structure" in found.notes[0]


def test_a_large_plain_tiff_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 65535, (300, 400)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "plain.tif", pixels)
    tifffile.imwrite(tmp_path / "packed.tif", pixels, compression="zlib")
    frame = open_frame([str(tmp_path / "plain.tif")], large_bytes=1)
    assert isinstance(frame, MappedFrame)
    assert frame.shape == (300, 400, 1)
    assert np.array_equal(frame[10:20, 30:50][..., 0], pixels[10:20, 30:50])
    packed = open_frame([str(tmp_path / "packed.tif")], large_bytes=1)
    assert isinstance(packed, np.ndarray)
    assert np.array_equal(packed[..., 0], pixels)


def test_a_large_tiff_that_is_cut_is_told(tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, np.ones((300, 400), np.uint16))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ImageError, match="cut"):
        open_frame([str(path)], large_bytes=1)


def test_samples_of_a_large_frame_reach_its_corners() -> None:
    frame = np.zeros((2100, 2200, 1), np.uint8)
    frame[0, 0] = frame[-1, -1] = 9
    parts = list(samples(frame))
    assert len(parts) == 16
    assert sum(int((part == 9).sum()) for part in parts) == 2
