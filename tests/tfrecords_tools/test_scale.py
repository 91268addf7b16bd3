"""Pixel sizes, from the file to the record: what is known, and images brought to one size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from tfrecords_tools import ConversionSettings, convert, make_plan
from tfrecords_tools.errors import PlanError, ToolsError
from tfrecords_tools.images import read_image
from tfrecords_tools.locator import Locator
from tfrecords_tools.resample import resampled
from tfrecords_tools.scale import with_zoom

NONE = ConversionSettings(labels="none", fractions=(0.0, 0.0, 1.0))


def write_imagej(path: Path, pixel_size_um: float, side_px: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(side_px).integers(0, 60_000, (side_px, side_px), np.uint16)
    tifffile.imwrite(
        path, image, imagej=True, resolution=(1 / pixel_size_um,) * 2, metadata={"unit": "um"}
    )


def test_the_pixel_size_that_imagej_wrote_is_known(tmp_path: Path) -> None:
    write_imagej(tmp_path / "source" / "a.tif", 0.65)
    dataset = convert(tmp_path / "source", tmp_path / "dataset", NONE)
    assert dataset.pixel_size_um == pytest.approx(0.65, rel=1e-5)


def test_a_resolution_in_inches_is_no_pixel_size(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    tifffile.imwrite(
        tmp_path / "source" / "a.tif",
        np.arange(64, dtype=np.uint8).reshape(8, 8),
        resolution=(72, 72),
        resolutionunit="INCH",
    )
    assert convert(tmp_path / "source", tmp_path / "dataset", NONE).pixel_size_um is None


def test_the_option_stands_before_the_file(tmp_path: Path) -> None:
    write_imagej(tmp_path / "source" / "a.tif", 0.65)
    settings = ConversionSettings(
        labels="none", fractions=(0.0, 0.0, 1.0), pixel_size_um=0.5, modality="phase"
    )
    dataset = convert(tmp_path / "source", tmp_path / "dataset", settings)
    assert (dataset.pixel_size_um, dataset.modality) == (0.5, "phase")


def test_two_objectives_are_told_and_can_be_brought_to_one_scale(tmp_path: Path) -> None:
    write_imagej(tmp_path / "source" / "10x.tif", 0.65, 32)
    write_imagej(tmp_path / "source" / "20x.tif", 0.325, 64)
    plan = make_plan(tmp_path / "source", NONE)
    assert any("pixel sizes from 0.325 to 0.65" in text for text in plan.audit["warnings"])
    settings = ConversionSettings(
        labels="none", fractions=(0.0, 0.0, 1.0), rescale_to_um=0.65, crop_px=32
    )
    dataset = convert(tmp_path / "source", tmp_path / "dataset", settings)
    assert dataset.pixel_size_um == pytest.approx(0.65)
    assert sorted(dataset.manifest["source_id"]) == ["10x.tif", "20x.tif"]
    row = dataset.manifest["source_id"].tolist().index("20x.tif")
    expected = resampled(read_image(tmp_path / "source" / "20x.tif"), 0.5)
    np.testing.assert_array_equal(dataset.read_example(row), expected)


def test_rescaling_without_a_pixel_size_says_how_to_give_it(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    tifffile.imwrite(tmp_path / "source" / "a.tif", np.arange(64, dtype=np.uint8).reshape(8, 8))
    settings = ConversionSettings(labels="none", rescale_to_um=0.65)
    with pytest.raises(PlanError, match="--pixel-size-um"):
        make_plan(tmp_path / "source", settings)


def test_an_image_of_unknown_size_among_known_ones_is_named(tmp_path: Path) -> None:
    write_imagej(tmp_path / "source" / "a.tif", 0.65)
    tifffile.imwrite(tmp_path / "source" / "b.tif", np.arange(64, dtype=np.uint16).reshape(8, 8))
    settings = ConversionSettings(
        labels="none", fractions=(0.0, 0.0, 1.0), rescale_to_um=0.65, allow_mixed=True
    )
    with pytest.raises(ToolsError, match=r"b\.tif: its pixel size is not known"):
        make_plan(tmp_path / "source", settings)


@pytest.mark.parametrize("size", [0.0, -1.0, 5000.0])
def test_an_impossible_pixel_size_is_refused(size: float) -> None:
    with pytest.raises(PlanError, match="expected micrometres"):
        ConversionSettings(pixel_size_um=size)


def test_a_zoom_goes_through_the_text_of_a_locator() -> None:
    (text,) = with_zoom(("plate.ome.tif#scene=2,t=3",), 0.65 / 0.325)
    assert text == "plate.ome.tif#scene=2,t=3,zoom=2"
    assert Locator.parse(text) == Locator(("plate.ome.tif",), scene=2, time=3, zoom=2.0)
    assert with_zoom(("a.tif",), 1.0) == ("a.tif",)


@given(zoom=st.floats(1e-3, 1e3))
def test_any_zoom_can_be_read_back(zoom: float) -> None:
    found = Locator.parse(str(Locator(("a.png",), zoom=zoom))).zoom
    assert found == pytest.approx(zoom, rel=1e-5)


def test_resampling_keeps_the_mean_and_makes_no_aliases() -> None:
    stripes = np.tile(np.array([0, 1000], np.uint16), (40, 20))[..., None]
    half = resampled(stripes, 0.5)
    assert half.shape == (20, 20, 1)
    assert half.dtype == np.uint16
    np.testing.assert_allclose(half[:, 2:-2], 500, atol=1)


def test_a_ramp_stays_a_ramp() -> None:
    ramp = np.linspace(0, 1, 50, dtype=np.float32)[:, None, None].repeat(8, axis=1)
    double = resampled(ramp, 2.0)
    inner = double[4:-4, 0, 0]
    np.testing.assert_allclose(np.diff(inner), (1 / 49) / 2, atol=1e-6)
