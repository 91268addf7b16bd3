"""A time-lapse on disk as positions of ordered frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deadlib.errors import InputError
from deadlib.heatmaps.movie import Movie, open_movie, reading_settings
from tfrecords_tools import ConversionSettings
from tfrecords_tools.images import read_stack

PLAIN = ConversionSettings().to_json()


def write_frames(folder: Path, *names: str, shape: tuple[int, int] = (20, 24)) -> Path:
    for place, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.full(shape, 100 + place, np.uint16))
    return folder


def opened(path: Path, pattern: str | None = None, **options: Any) -> Movie:
    return open_movie(path, reading_settings(PLAIN, pattern=pattern), **options)


def times(movie: Movie) -> dict[str, list[tuple[int, float | None]]]:
    return {
        position.name: [(m.time_index, m.time_hours) for m in position.moments]
        for position in movie.positions
    }


def test_file_names_give_positions_and_times(tmp_path: Path) -> None:
    write_frames(tmp_path, "P2_t0.tif", "P2_t1.tif", "P10_t1.tif", "P10_t0.tif")
    movie = opened(tmp_path, "{position}_t{time_index}.tif", interval_hours=0.5)
    assert times(movie) == {"P2": [(0, 0.0), (1, 0.5)], "P10": [(0, 0.0), (1, 0.5)]}
    assert movie.notes == ()


def test_a_clock_in_the_file_name_gives_times(tmp_path: Path) -> None:
    write_frames(tmp_path, "B2_00d23h30m.tif", "B2_01d00h00m.tif", "B2_01d00h30m.tif")
    movie = opened(tmp_path, "{well}_{time_hours}.tif")
    assert times(movie) == {"B2": [(0, 23.5), (1, 24.0), (2, 24.5)]}


def test_a_missing_frame_of_a_clock_is_told(tmp_path: Path) -> None:
    write_frames(tmp_path, *(f"B2_00d{hour:02}h00m.tif" for hour in (0, 1, 2, 4, 5)))
    movie = opened(tmp_path, "{well}_{time_hours}.tif")
    assert movie.positions[0].missing == (3,)
    assert "1 of 6 frames are missing (time index 3)" in movie.notes[0]


def test_a_position_that_ends_early_is_told(tmp_path: Path) -> None:
    write_frames(tmp_path, *(f"A_t{t}.tif" for t in range(4)), *(f"B_t{t}.tif" for t in range(3)))
    movie = opened(tmp_path, "{position}_t{time_index}.tif", interval_hours=1)
    assert [position.missing for position in movie.positions] == [(), (3,)]


def test_every_second_frame_is_no_gap(tmp_path: Path) -> None:
    write_frames(tmp_path, *(f"A_t{t}.tif" for t in (0, 2, 4, 8)))
    movie = opened(tmp_path, "{position}_t{time_index}.tif", interval_hours=1)
    assert movie.positions[0].missing == (6,)


def test_two_frames_for_one_time_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path, "a/P1_t0.tif", "b/P1_t0.tif")
    with pytest.raises(InputError, match=r"two frames for time index 0, a/P1_t0.tif and b/P1_t0"):
        opened(tmp_path, "{position}_t{time_index}.tif")


def test_names_that_differ_in_one_number_are_in_its_order(tmp_path: Path) -> None:
    write_frames(tmp_path, "run3_10.tif", "run3_9.tif", "run3_11.tif")
    movie = opened(tmp_path)
    [found] = times(movie).values()
    assert [index for index, _ in found] == [9, 10, 11]
    assert "frame numbers" in movie.notes[0]


def test_names_that_could_mean_anything_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path, "p1_t1.tif", "p2_t1.tif", "p1_t2.tif", "p2_t2.tif")
    with pytest.raises(
        InputError, match="do not differ in one number alone; say what the names mean"
    ):
        opened(tmp_path)


def test_a_table_gives_times_and_facts(tmp_path: Path) -> None:
    write_frames(tmp_path, "x.tif", "y.tif")
    rows = "path,position,time_hours,light_dose_s\ny.tif,P1,0,60\nx.tif,P1,2,60\n"
    (tmp_path / "frames.csv").write_text(rows)
    movie = opened(tmp_path, table="frames.csv")
    assert times(movie) == {"P1": [(0, 0.0), (1, 2.0)]}
    assert Path(movie.positions[0].moments[0].locators[0]).name == "y.tif"
    assert movie.positions[0].facts["light_dose_s"] == 60


def test_a_simulated_movie_says_its_hours_whatever_table_the_run_had(tmp_path: Path) -> None:
    write_frames(tmp_path / "images", "P01_t000.tif", "P01_t001.tif")
    (tmp_path / "simulation.json").write_text("{}")
    (tmp_path / "positions.csv").write_text("position,light_dose_s\nP01,60\n")
    (tmp_path / "images.csv").write_text(
        "path,label,position,time_index,time_hours,light_dose_s\n"
        "images/P01_t000.tif,sick,P01,0,1.0,60\nimages/P01_t001.tif,sick,P01,1,3.0,60\n"
    )
    conversion = {"pattern": "images/{position}_t{time_index}.tif", "table": "positions.csv"}
    movie = open_movie(tmp_path, reading_settings({**PLAIN, **conversion}))
    assert times(movie) == {"P01": [(0, 1.0), (1, 3.0)]}
    assert movie.positions[0].facts["light_dose_s"] == 60
    assert movie.notes == ()


def test_times_that_do_not_grow_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path, "x.tif", "y.tif")
    rows = "path,position,time_index,time_hours\nx.tif,P1,0,2\ny.tif,P1,1,1\n"
    (tmp_path / "frames.csv").write_text(rows)
    with pytest.raises(InputError, match="time_hours does not grow with time_index"):
        opened(tmp_path, table="frames.csv")


def test_a_frame_without_a_time_is_refused(tmp_path: Path) -> None:
    write_frames(tmp_path, "x.tif", "y.tif")
    (tmp_path / "frames.csv").write_text("path,position,time_index\nx.tif,P1,0\ny.tif,P1,\n")
    with pytest.raises(InputError, match=r"nothing says when y.tif was taken"):
        opened(tmp_path, table="frames.csv")


def test_hours_count_only_where_every_frame_has_them(tmp_path: Path) -> None:
    write_frames(tmp_path, "x.tif", "y.tif")
    rows = "path,position,time_index,time_hours\nx.tif,P1,0,2\ny.tif,P1,1,\n"
    (tmp_path / "frames.csv").write_text(rows)
    movie = opened(tmp_path, table="frames.csv")
    assert times(movie) == {"P1": [(0, None), (1, None)]}
    assert "times are frame numbers" in movie.notes[0]


def test_a_stack_is_a_movie_and_says_its_scale(tmp_path: Path) -> None:
    stack = np.arange(3 * 20 * 24, dtype=np.uint16).reshape(3, 20, 24)
    path = tmp_path / "monday.ome.tif"
    metadata = {"axes": "TYX", "TimeIncrement": 900.0, "TimeIncrementUnit": "s"}
    metadata |= {"PhysicalSizeX": 0.65, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(path, stack, metadata=metadata, photometric="minisblack")
    write_frames(tmp_path, "another.tif")
    movie = opened(path)
    [found] = times(movie).values()
    assert found == [(0, 0.0), (1, 0.25), (2, 0.5)]
    assert movie.pixel_size_um == 0.65
    read = read_stack(movie.positions[0].moments[2].locators)
    assert np.array_equal(read[..., 0], stack[2])


def test_pages_of_a_stack_that_says_nothing_are_times(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((4, 20, 24), np.uint8), photometric="minisblack", metadata=None)
    movie = opened(path, interval_hours=2)
    [found] = times(movie).values()
    assert found == [(0, 0.0), (1, 2.0), (2, 4.0), (3, 6.0)]


def test_an_ome_zarr_is_a_movie(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.create_group(store=str(tmp_path / "lapse.zarr"), zarr_format=3)
    array = group.create_array("0", shape=(2, 20, 24), dtype="uint16")
    array[:] = 7
    axes = [{"name": "t", "type": "time", "unit": "hour"}, {"name": "y"}, {"name": "x"}]
    scale = [{"type": "scale", "scale": [0.5, 1.0, 1.0]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": datasets}]}
    movie = opened(tmp_path / "lapse.zarr")
    [found] = times(movie).values()
    assert found == [(0, 0.0), (1, 0.5)]


def test_a_folder_of_stacks_has_a_position_for_each(tmp_path: Path) -> None:
    axes = {"axes": "TYX"}
    for name in ("left.tif", "right.tif"):
        tifffile.imwrite(
            tmp_path / name, np.zeros((2, 20, 24), np.uint8), imagej=True, metadata=axes
        )
    movie = opened(tmp_path, interval_hours=1)
    assert times(movie) == {"left.tif": [(0, 0.0), (1, 1.0)], "right.tif": [(0, 0.0), (1, 1.0)]}


def test_images_that_are_no_frames_are_left_out_and_told(tmp_path: Path) -> None:
    write_frames(tmp_path, "images/P1_t0.tif", "images/P1_t1.tif", "images/map.tif")
    movie = opened(tmp_path, "images/{position}_t{time_index}.tif", interval_hours=1)
    assert times(movie) == {"P1": [(0, 0.0), (1, 1.0)]}
    assert any("1 images left out" in note and "images/map.tif" in note for note in movie.notes)


def test_a_row_without_a_file_is_refused_or_a_gap(tmp_path: Path) -> None:
    write_frames(tmp_path, "a.tif", "c.tif", "d.tif")
    rows = "".join(f"{name}.tif,P1,{index}\n" for index, name in enumerate("abcd"))
    (tmp_path / "frames.csv").write_text(f"path,position,time_index\n{rows}")
    with pytest.raises(InputError, match=r"b\.tif.*--on-bad-frame skip"):
        opened(tmp_path, table="frames.csv")
    movie = opened(tmp_path, table="frames.csv", skip_bad=True)
    assert movie.positions[0].missing == (1,)
    assert any("b.tif" in note for note in movie.notes)


def test_one_frame_is_told(tmp_path: Path) -> None:
    write_frames(tmp_path, "only.tif")
    assert any("one frame only at" in note for note in opened(tmp_path).notes)


def test_positions_can_be_chosen(tmp_path: Path) -> None:
    write_frames(tmp_path, "A_t0.tif", "B_t0.tif")
    pattern = "{position}_t{time_index}.tif"
    assert list(times(opened(tmp_path, pattern, positions=["B"]))) == ["B"]
    with pytest.raises(InputError, match=r"no position C; it has A, B"):
        opened(tmp_path, pattern, positions=["C"])


def test_nothing_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found; give a folder of frames"):
        opened(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(InputError, match="not a file of images"):
        opened(tmp_path / "notes.txt")


def test_the_real_movie_is_read_by_its_clock(real_data: Path) -> None:
    asked = {"pattern": "{plate}_{channel}_{well}_{field}_{time_hours}.tif", "channels": ("P",)}
    movie = open_movie(real_data / "hc01501_phase_timelapse", reading_settings(PLAIN, **asked))
    [found] = times(movie).values()
    assert found == [(index, index / 2) for index in range(11)]
    assert movie.notes == ()


def test_frames_of_several_pixel_sizes_are_refused_unless_it_is_said(tmp_path: Path) -> None:
    write_frames(tmp_path, "x.tif", "y.tif")
    rows = "path,position,time_index,pixel_size_um\nx.tif,P1,0,0.65\ny.tif,P1,1,{}\n"
    (tmp_path / "frames.csv").write_text(rows.format(0.325))
    with pytest.raises(InputError, match=r"from 0.325 to 0.65 µm; .* with --pixel-size-um"):
        opened(tmp_path, table="frames.csv")
    assert opened(tmp_path, table="frames.csv", pixel_size_um=0.65).pixel_size_um == 0.65
    (tmp_path / "frames.csv").write_text(rows.format(0.6500001))
    assert opened(tmp_path, table="frames.csv").pixel_size_um == 0.65
