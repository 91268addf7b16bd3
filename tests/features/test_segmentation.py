"""Nuclei are found one by one, with a ring of cytoplasm each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from discs import disc

from deadlib.errors import InputError
from deadlib.features.segmentation import nuclear_channel, segment, usual_diameter
from tfrecords_tools.images import read_image

SHAPE = (120, 160)


def plane_of(*discs: tuple[float, float, float], light: float = 100.0) -> np.ndarray:
    generator = np.random.default_rng(1)
    plane = generator.normal(10, 2, SHAPE)
    for row, column, radius in discs:
        plane[disc(SHAPE, row, column, radius)] += light
    return plane.astype(np.float32)


def test_every_nucleus_is_found_where_it_is() -> None:
    discs = [(30, 30, 9), (30, 80, 9), (80, 40, 11), (85, 120, 8)]
    cells = segment(plane_of(*discs), 18, 5)
    assert cells.count == len(discs)
    for row, column, radius in discs:
        number = cells.nuclei[int(row), int(column)]
        assert number > 0
        found = np.sqrt((cells.nuclei == number).sum() / np.pi)
        assert abs(found - radius) < 1


def test_nuclei_that_touch_are_parted() -> None:
    cells = segment(plane_of((50, 50, 10), (50, 68, 10)), 20, 5)
    assert cells.count == 2
    assert cells.nuclei[50, 50] != cells.nuclei[50, 68]


def test_what_the_edge_cuts_is_counted_and_left_out() -> None:
    cells = segment(plane_of((50, 50, 10), (0, 100, 10), (60, 159, 10)), 20, 5)
    assert (cells.count, cells.cut) == (1, 2)
    assert not (cells.nuclei > 0)[0].any()
    assert set(np.unique(cells.ring)) == {0, 1}


def test_debris_is_no_nucleus() -> None:
    assert segment(plane_of((50, 50, 10), (20, 120, 2)), 20, 5).count == 1


def test_a_dim_nucleus_is_found_beside_a_very_bright_one() -> None:
    plane = plane_of((50, 50, 10), light=60)
    plane[disc(SHAPE, 50, 110, 8)] += 400
    assert segment(plane, 20, 5).count == 2


def test_noise_is_no_nucleus() -> None:
    plane = np.random.default_rng(0).normal(100, 5, SHAPE).astype(np.float32)
    assert segment(plane, 20, 5).count == 0


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_an_even_image_has_no_nucleus(value: float) -> None:
    cells = segment(np.full(SHAPE, value, np.float32), 20, 5)
    assert (cells.count, cells.cut) == (0, 0)


def test_uneven_light_hides_no_nucleus() -> None:
    plane = plane_of((30, 20, 9), (30, 140, 9), (90, 20, 9), (90, 140, 9), light=60)
    shade = np.linspace(0, 150, SHAPE[1], dtype=np.float32)
    assert segment(plane + shade, 18, 5).count == 4


def test_a_ring_lies_around_its_nucleus_and_in_no_other() -> None:
    cells = segment(plane_of((50, 50, 10), (50, 74, 10)), 20, 6)
    assert not ((cells.ring > 0) & (cells.nuclei > 0)).any()
    for number in (1, 2):
        ring, nucleus = cells.ring == number, cells.nuclei == number
        middle = np.argwhere(nucleus).mean(axis=0)
        away = np.hypot(*(np.argwhere(ring) - middle).T)
        assert 10 < away.min() < 13
        assert 14 < away.max() < 19


def test_the_diameter_of_nuclei_is_told_from_images() -> None:
    planes = [plane_of((30, 30, r), (30, 80, r), (80, 40, r), (85, 120, r)) for r in (9, 10)]
    assert usual_diameter(planes) == pytest.approx(19, abs=2)


def test_images_without_anything_have_no_diameter() -> None:
    with pytest.raises(InputError, match=r"no nuclei found.*--nuclei"):
        usual_diameter([np.full(SHAPE, 3.0, np.float32)])


@pytest.mark.parametrize("name", ["DNA", "Hoechst 33342", "dapi", "ch1 DRAQ5"])
def test_the_channel_of_the_nuclei_is_told_by_its_name(name: str) -> None:
    assert nuclear_channel(["ER", name, "Mito"]) == name


def test_where_no_name_tells_the_user_is_asked() -> None:
    with pytest.raises(InputError, match="no name tells; the images have GFP, RFP; name it"):
        nuclear_channel(["GFP", "RFP"])
    with pytest.raises(InputError, match="DNA, DAPI all sound like it"):
        nuclear_channel(["DNA", "DAPI"])
    with pytest.raises(InputError, match="no channel DNS; the images have DNA"):
        nuclear_channel(["DNA"], "DNS")


def test_nuclei_of_a_real_plate_are_found(real_data: Path) -> None:
    """Counted by eye: about 170 nuclei in this image, 20 of them cut."""
    path = real_data / "sbs_translocation_plate" / "images" / "Channel2-07-A-07.tif"
    plane = read_image(path)[..., 0].astype(np.float32)
    diameter = usual_diameter([plane])
    assert 12 < diameter < 18
    cells = segment(plane, diameter, diameter / 3)
    assert 160 < cells.count < 220
    areas = np.bincount(cells.nuclei.ravel())[1:]
    assert 180 < np.median(areas) < 300
