"""OME-Zarr and makers' files, written by the libraries that define them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrecords_tools.discover import discover
from tfrecords_tools.errors import ImageError
from tfrecords_tools.images import examine, read_image, read_stack
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import find_images

PIXELS = np.random.default_rng(0).integers(0, 4000, (3, 2, 4, 16, 18)).astype(np.uint16)
"""time, channel, z, height, width."""


def settings(**more: object) -> ConversionSettings:
    return ConversionSettings(**{"labels": "none", **more})  # type: ignore[arg-type]


def write_zarr_image(path: Any, pixels: np.ndarray, version: str) -> None:
    zarr = pytest.importorskip("zarr")
    pytest.importorskip("ome_zarr")
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import add_metadata, write_image

    form = FormatV04() if version == "0.4" else FormatV05()
    group = path
    if isinstance(path, Path):
        group = zarr.open_group(path, mode="w", zarr_format=form.zarr_format)
    names = {"channels": [{"label": name, "color": "FFFFFF"} for name in ("phase", "PI")]}
    write_image(
        pixels,
        group,
        axes="tczyx",
        axes_units={"t": "minute", "z": "micrometer", "y": "micrometer", "x": "micrometer"},
        fmt=form,
        scale={"t": 30.0, "c": 1.0, "z": 2.0, "y": 0.65, "x": 0.65},
        scale_factors=[{"y": 2, "x": 2}],
    )
    add_metadata(group, {"omero": names}, fmt=form)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_zarr_image_is_read_at_full_resolution(tmp_path: Path, version: str) -> None:
    write_zarr_image(tmp_path / "dead" / "a.ome.zarr", PIXELS, version)
    assert find_images(tmp_path) == ["dead/a.ome.zarr"]
    sources = discover(tmp_path, settings(z="max", channels=("PI", "phase")))
    assert sources.rows["time_hours"].tolist() == [0, 0.5, 1]
    assert sources.rows["pixel_size_um"].tolist() == [0.65] * 3
    for time, paths in enumerate(sources.rows["source_paths"]):
        image = read_stack([tmp_path / path for path in paths])
        expected = PIXELS[time, ::-1].max(axis=1)
        np.testing.assert_array_equal(image, np.moveaxis(expected, 0, -1))


def test_wells_and_fields_of_an_ome_zarr_plate_become_rows(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    pytest.importorskip("ome_zarr")
    from ome_zarr.format import FormatV05
    from ome_zarr.writer import write_plate_metadata, write_well_metadata

    plate = zarr.open_group(tmp_path / "P7.zarr", mode="w", zarr_format=3)
    wells = ["B/03", "C/11"]
    write_plate_metadata(plate, ["B", "C"], ["03", "11"], wells, name="P7", fmt=FormatV05())
    for number, well in enumerate(wells):
        group = plate.require_group(well)
        write_well_metadata(group, ["0", "1"], fmt=FormatV05())
        for field in range(2):
            pixels = PIXELS[:1, :, :1] + np.uint16(1000 * (2 * number + field))
            write_zarr_image(group.require_group(str(field)), pixels, "0.5")
    sources = discover(tmp_path, settings())
    assert sources.rows["well"].tolist() == ["B03", "B03", "C11", "C11"]
    assert sources.rows["field"].tolist() == ["0", "1", "0", "1"]
    assert set(sources.rows["plate"]) == {"P7"}
    assert sources.channels == ("phase", "PI")
    for number, paths in enumerate(sources.rows["source_paths"]):
        image = read_stack([tmp_path / path for path in paths])
        np.testing.assert_array_equal(image[..., 1], PIXELS[0, 1, 0] + 1000 * number)


def test_a_folder_that_is_no_ome_zarr_is_named(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(ImageError, match=r"a.zarr: no whole OME-Zarr"):
        read_image(tmp_path / "a.zarr")


def test_a_czi_file_is_read_plane_by_plane(tmp_path: Path) -> None:
    czi = pytest.importorskip("pylibCZIrw.czi")
    pytest.importorskip("bioio_czi")
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        for time, channel, z in np.ndindex(PIXELS.shape[:3]):
            plane = {"T": time, "C": channel, "Z": z}
            file.write(PIXELS[time, channel, z][..., None], plane=plane)
        file.write_metadata("a", channel_names={0: "phase", 1: "PI"}, scale_x=1e-6, scale_y=1e-6)
    sources = discover(tmp_path, settings(z="2", channels=("PI", "phase")))
    assert sources.rows["time_index"].tolist() == [0, 1, 2]
    assert sources.rows["pixel_size_um"].tolist() == [1, 1, 1]
    for time, paths in enumerate(sources.rows["source_paths"]):
        image = read_stack([tmp_path / path for path in paths])
        np.testing.assert_array_equal(image, np.moveaxis(PIXELS[time, ::-1, 1], 0, -1))


@pytest.mark.parametrize("suffix", ["nd2", "czi", "lif"])
def test_a_damaged_makers_file_is_named(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip(f"bioio_{suffix}")
    (tmp_path / f"a.{suffix}").write_bytes(b"not what it says" * 10)
    with pytest.raises(ImageError, match=rf"a\.{suffix}: cannot be read"):
        examine([tmp_path / f"a.{suffix}"])


@pytest.mark.parametrize("name", ["a.zarr", "a.nd2"])
def test_without_the_extra_one_error_says_what_to_install(tmp_path: Path, name: str) -> None:
    if name.endswith(".zarr"):
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).touch()
    script = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['bioio', 'zarr']))\n"
        "from pathlib import Path\n"
        "from tfrecords_tools import ConversionSettings, make_plan\n"
        "from tfrecords_tools.errors import ToolsError\n"
        "try:\n"
        f"    make_plan(Path({str(tmp_path)!r}), ConversionSettings(labels='none'))\n"
        "except ToolsError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "pip install 'deadlib[formats]'" in done.stdout


def test_plain_images_import_no_reader_of_other_formats(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nimport numpy as np, tifffile\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "tifffile.imwrite(folder / 'a.tif', np.zeros((9, 9), 'u2'))\n"
        "from tfrecords_tools import ConversionSettings, make_plan\n"
        "make_plan(folder, ConversionSettings(labels='none'))\n"
        "print(sorted({'bioio', 'zarr', 'dask', 'xarray'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
