"""Maps and videos read back by the programs that people open them with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deadlib.heatmaps.lapse import MapSettings
from deadlib.heatmaps.maps import FULL, GRID, OME_TIFF, OME_ZARR, FrameMap, Layout, write_maps
from deadlib.heatmaps.pictures import (
    default_video,
    grey_picture,
    missing_picture,
    overlay,
    reduction,
    stamped,
)
from deadlib.windows import grid_over, upsampled
from tfrecords_tools.container import open_container

SHAPE, WINDOW = (530, 601), (80, 80)
OVER = grid_over(SHAPE, WINDOW, 32)
CLASSES = ("healthy", "sick")


def values() -> np.ndarray:
    sick = np.random.default_rng(0).random((3, OVER.rows, OVER.columns)).astype(np.float32)
    return np.stack([1 - sick, sick], axis=-1)


def frame_maps() -> Iterator[FrameMap]:
    for frame in values():
        yield FrameMap(frame, OVER, SHAPE)


def layout(resolution: str, hours: tuple[float, ...] | None = (1.0, 1.5, 2.0)) -> Layout:
    return Layout(resolution, 3, CLASSES, OVER, SHAPE, 1.0, 0.65, hours)


def pictures_of(frames: np.ndarray) -> np.ndarray:
    """(t, class, y, x) probabilities at every pixel."""
    drawn = [upsampled(frame, OVER, (0, 0, *SHAPE)) for frame in frames]
    return np.moveaxis(np.stack(drawn), -1, 1)


def test_a_full_ome_tiff_holds_every_pixel(tmp_path: Path) -> None:
    path = tmp_path / "maps.ome.tif"
    write_maps(path, OME_TIFF, layout(FULL), frame_maps())
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        assert (series.axes, series.shape, series.dtype) == ("TCYX", (3, 2, *SHAPE), np.uint8)
        assert "probability = value / 255" in (file.ome_metadata or "")
        read = series.asarray()
    assert np.abs(read / 255 - pictures_of(values())).max() <= 0.5 / 255 + 1e-6


def test_a_map_on_the_grid_holds_the_networks_own_values(tmp_path: Path) -> None:
    path = tmp_path / "maps.ome.tif"
    write_maps(path, OME_TIFF, layout(GRID), frame_maps())
    read = tifffile.imread(path)
    assert read.dtype == np.float32
    assert np.array_equal(read, np.moveaxis(values(), -1, 1))


@pytest.mark.parametrize(("resolution", "pixel"), [(FULL, "0.65"), (GRID, "20.8")])
@pytest.mark.parametrize("kind", [OME_TIFF, OME_ZARR])
def test_both_formats_say_what_they_hold(
    tmp_path: Path, kind: str, resolution: str, pixel: str
) -> None:
    if kind == OME_ZARR:
        pytest.importorskip("zarr")
    path = tmp_path / ("maps.ome.tif" if kind == OME_TIFF else "maps.ome.zarr")
    write_maps(path, kind, layout(resolution, (0.0, 0.5, 1.0)), frame_maps())
    container = open_container(path)
    [scene] = container.scenes
    assert (scene.frames, scene.channels, scene.channel_names) == (3, 2, CLASSES)
    assert scene.hours == (0.0, 0.5, 1.0)
    assert scene.metadata["pixel_size_um"] == pixel
    plane = container.plane(0, 2, 1, 0)
    container.close()
    expected = values()[2, ..., 1]
    if resolution == FULL:
        expected = np.rint(255 * pictures_of(values())[2, 1])
    assert np.allclose(plane, expected, atol=1e-6 if resolution == GRID else 1)


def test_an_ome_zarr_opens_with_ome_zarr(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    reader = pytest.importorskip("ome_zarr.reader")
    io = pytest.importorskip("ome_zarr.io")
    path = tmp_path / "maps.ome.zarr"
    write_maps(path, OME_ZARR, layout(FULL), frame_maps())
    [node] = list(reader.Reader(io.parse_url(str(path)))())
    assert [axis["name"] for axis in node.metadata["axes"]] == ["t", "c", "y", "x"]
    assert node.metadata["axes"][0]["unit"] == "hour"
    assert node.data[0].shape == (3, 2, *SHAPE)


def test_times_with_a_gap_are_told_frame_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "maps.ome.tif"
    write_maps(path, OME_TIFF, layout(GRID, (0.0, 0.5, 2.0)), frame_maps())
    with tifffile.TiffFile(path) as file:
        assert "TimeIncrement" not in (file.ome_metadata or "")
    assert open_container(path).scenes[0].hours == (0.0, 0.5, 2.0)


def test_red_is_where_the_target_is_probable() -> None:
    ramp = np.zeros((OVER.rows, OVER.columns, 2), np.float32)
    ramp[:, OVER.columns // 2 :, 1] = 1
    grey = np.full(SHAPE, 100, np.uint8)
    drawn = overlay(grey, FrameMap(ramp, OVER, SHAPE), 1, 1)
    assert np.array_equal(drawn[0, 0], [100, 100, 100])
    assert np.array_equal(drawn[0, -1], np.rint([40 + 138, 40 + 18, 40 + 12]))


def test_a_large_frame_is_drawn_small() -> None:
    frame = np.zeros((1000, 1500, 1), np.uint16)
    frame[:, 750:] = 1000
    assert reduction(frame.shape, 600) == 3
    grey = grey_picture(frame, 0, 1000, 600)
    assert grey.shape == (333, 500)
    assert (grey[:, :249].max(), grey[:, 251:].min()) == (0, 255)


def test_words_are_burnt_in() -> None:
    blank = np.zeros((120, 160, 3), np.uint8)
    drawn = stamped(blank, "P1  1 h 30 min")
    assert drawn[90:].max() > 200
    assert drawn[:60].max() == 0
    assert missing_picture((120, 160), "missing").shape == (120, 160, 3)


def test_a_video_without_its_extra_is_a_gif(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert default_video() == "gif"
    assert MapSettings().video == "gif", "in Python too"
