"""Tiles on disk: the published pixels and names, and no image in train and test at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import HEIGHT_PX, WIDTH_PX, field, scene, write_fields

from tfrecords_tools import ConversionSettings, DatasetError, PlanError, make_plan
from tfrecords_tools.cut import grid_of, grid_windows
from tfrecords_tools.slicing import plan_slicing, write_tiles


def written(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two lines, two experiments, two wells of three fields each, in folders of their own."""
    fields = {
        f"day{n}/{line}_{drug}{n}_1H_RGB_{number:04}_N{n}.png": field(
            scene(hash_of(line, drug, n, number), HEIGHT_PX, WIDTH_PX), 0, 0
        )
        for line in ("U2", "H9")
        for drug in ("CPT", "DMSO")
        for n in (1, 2)
        for number in range(3)
    }
    return write_fields(tmp_path_factory.mktemp("slicing") / "images", fields)


def hash_of(line: str, drug: str, n: int, number: int) -> int:
    return 1000 * len(drug) + 100 * (line == "U2") + 10 * n + number


@pytest.mark.parametrize(("tiles", "grid"), [(2, (1, 2)), (4, (2, 2)), (6, (2, 3)), (8, (2, 4))])
def test_so_many_tiles_as_asked_for(tiles: int, grid: tuple[int, int]) -> None:
    assert grid_of(tiles) == grid
    assert len(grid_windows(960, 1280, *grid_of(tiles))) == tiles


def test_other_numbers_are_refused() -> None:
    with pytest.raises(PlanError, match="9 tiles: expected 2, 4, 6, 8"):
        grid_of(9)


def test_the_published_tiles_pixel_for_pixel(real_data: Path, tmp_path: Path) -> None:
    name = "U2_DMSO2_1H_RGB_0052_N3.png"
    source = tmp_path / "images"
    source.mkdir()
    folder = real_data / "celldeath_u2os"
    (source / name).write_bytes((folder / "images" / name).read_bytes())
    assert write_tiles(plan_slicing(source, grid_of(4)), tmp_path / "tiles") == 4
    assert written(tmp_path / "tiles") == written(folder / "published_tiles")
    for path in (folder / "published_tiles").iterdir():
        np.testing.assert_array_equal(pixels(tmp_path / "tiles" / path.name), pixels(path))


def test_subfolders_are_cut_as_well(images: Path, tmp_path: Path) -> None:
    write_tiles(plan_slicing(images, (2, 2)), tmp_path / "tiles")
    names = written(tmp_path / "tiles")
    assert len(names) == 24 * 4
    one = "day2/H9_CPT2_1H_RGB_0001_N2.png"
    whole = pixels(images / one)
    np.testing.assert_array_equal(
        pixels(tmp_path / "tiles" / f"{one}_02_01.png"), whole[HEIGHT_PX // 2 :, : WIDTH_PX // 2]
    )


def test_a_share_takes_whole_wells_and_never_tiles(images: Path, tmp_path: Path) -> None:
    write_tiles(plan_slicing(images, (2, 2), share=0.25, seed=3), tmp_path / "tiles")
    wells: dict[str, set[str]] = {"train": set(), "test": set()}
    for name in written(tmp_path / "tiles"):
        split, _, image = name.split("/")
        wells[split].add(image.partition("_1H")[0])
    assert len(wells["test"]) == 2
    assert len(wells["train"]) == 6
    assert not wells["train"] & wells["test"]


def test_a_share_of_images_takes_all_tiles_of_each(images: Path, tmp_path: Path) -> None:
    slicing = plan_slicing(images, (2, 2), share=0.25, split_by=("source_id",))
    write_tiles(slicing, tmp_path / "tiles")
    test = [name for name in written(tmp_path / "tiles") if name.startswith("test/")]
    assert len(test) == 24
    assert len({name.partition(".png")[0] for name in test}) == 6


def test_a_whole_experiment_is_held_out(images: Path, tmp_path: Path) -> None:
    write_tiles(plan_slicing(images, (1, 2), hold_out=("experiment=N2",)), tmp_path / "tiles")
    names = written(tmp_path / "tiles")
    assert len(names) == 48
    assert all(name.startswith("test/") == ("_N2.png" in name) for name in names)


def test_an_alarm_where_overlapping_fields_are_torn_apart(tmp_path: Path) -> None:
    ground = scene(1, HEIGHT_PX, 4 * WIDTH_PX)
    fields = {f"f_{n}.png": field(ground, 0, n * WIDTH_PX // 2, n) for n in range(6)}
    source = write_fields(tmp_path / "images", fields)
    torn = plan_slicing(source, (2, 2), share=0.5)
    assert any("stand in two splits" in text for text in torn.plan.audit["warnings"])


def test_the_same_call_goes_on_and_another_one_is_refused(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiles"
    first = plan_slicing(images, (2, 2), share=0.25)
    write_tiles(first, out)
    names = written(out)
    (out / names[0]).unlink()
    write_tiles(first, out)
    assert written(out) == names
    with pytest.raises(DatasetError, match="which this command does not write"):
        write_tiles(plan_slicing(images, (2, 2), hold_out=("experiment=N1",)), out)
    with pytest.raises(PlanError, match="lies inside"):
        write_tiles(first, images / "tiles")


def test_tiles_on_disk_are_those_of_a_conversion(images: Path, tmp_path: Path) -> None:
    settings = ConversionSettings(labels="pattern", pattern="celldeath", tile=(2, 2))
    plan = make_plan(images, settings)
    write_tiles(plan_slicing(images, (2, 2)), tmp_path / "tiles")
    assert written(tmp_path / "tiles") == sorted(f"{n}.png" for n in plan.examples["example_id"])


def test_what_a_png_cannot_hold_is_refused(tmp_path: Path) -> None:
    import tifffile

    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", np.ones((64, 64), np.float32))
    with pytest.raises(PlanError, match="8 or 16 bits"):
        plan_slicing(tmp_path / "images", (2, 2))
