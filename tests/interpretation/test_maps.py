"""A map on disk says what its numbers stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from deadlib.errors import InputError
from deadlib.interpretation.maps import check_maps, read_map, write_map

HEAT = np.random.default_rng(0).random((2, 20, 30)).astype(np.float32) * 3
ABOUT = {"method": "gradcam", "layer": "conv4_2_relu"}


@pytest.mark.parametrize("name", ["map.tif", "map.ome.tif"])
@pytest.mark.parametrize("classes", [["healthy", "sick"], ["sick"]])
def test_heat_comes_back_to_a_16_bit_step(tmp_path: Path, name: str, classes: list[str]) -> None:
    heat = HEAT[: len(classes)]
    write_map(tmp_path / name, heat, classes, about=ABOUT, pixel_size_um=0.65)
    stored = tifffile.imread(tmp_path / name)
    assert stored.dtype == np.uint16
    assert stored.max() == 65535
    np.testing.assert_allclose(read_map(tmp_path / name), heat, atol=heat.max() / 65535)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_tiff_tells_its_scale_its_classes_and_its_pixel_size(tmp_path: Path) -> None:
    write_map(tmp_path / "map.tif", HEAT, ["healthy", "sick"], about=ABOUT, pixel_size_um=0.5)
    with tifffile.TiffFile(tmp_path / "map.tif") as file:
        (told,) = file.shaped_metadata
        assert file.series[0].axes == "CYX"
        assert file.pages[0].get_resolution("MICROMETER") == pytest.approx((2, 2))
    assert told["heat_at_65535"] == pytest.approx(HEAT.max())
    assert told["classes"] == ["healthy", "sick"]
    assert told["layer"] == "conv4_2_relu"


def test_an_ome_tiff_names_its_channels(tmp_path: Path) -> None:
    path = tmp_path / "map.ome.tif"
    write_map(path, HEAT, ["healthy", "sick"], about=ABOUT, pixel_size_um=0.5)
    with tifffile.TiffFile(path) as file:
        tree = tifffile.xml2dict(file.ome_metadata)["OME"]
        assert file.series[0].axes == "CYX"
    pixels = tree["Image"]["Pixels"]
    assert [channel["Name"] for channel in pixels["Channel"]] == ["healthy", "sick"]
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (0.5, "µm")
    assert "value / 65535" in tree["Image"]["Description"]


def test_nothing_is_nothing(tmp_path: Path) -> None:
    write_map(tmp_path / "map.tif", HEAT * 0, ["healthy", "sick"], about=ABOUT)
    assert (read_map(tmp_path / "map.tif") == 0).all()


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(InputError, match="expected one of tiff, ome-tiff"):
        check_maps("jpeg")
