"""Plate exports: what their index says of every plane, joined to images and to a plate layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from tfrecords_tools.discover import discover
from tfrecords_tools.errors import SourceError
from tfrecords_tools.images import read_stack
from tfrecords_tools.settings import ConversionSettings

PIXELS = np.random.default_rng(0).integers(0, 4000, (3, 2, 2, 12, 14)).astype(np.uint16)
"""z, channel, time, height, width."""

UUIDS = [f"{number:08X}-7743-4113-B6A2-8899FD53C3C8" for number in range(20)]


def settings(**more: object) -> ConversionSettings:
    return ConversionSettings(**{"labels": "none", **more})  # type: ignore[arg-type]


def write_harmony(folder: Path, *, shared_names: bool = False) -> None:
    """Well C11 of plate P7: a field of 3 planes, 2 channels and 2 times (half an hour)."""
    folder.mkdir(parents=True)
    names = ("HOECHST 33342", "Brightfield")
    images = ""
    for z in range(3):
        for channel in range(2):
            for time in range(2):
                file = f"r03c11f02p{z + 1:02}-ch{channel + 1}sk{time + 1}fk1fl1.tiff"
                tifffile.imwrite(folder / file, PIXELS[z, channel, time])
                own = "" if shared_names else f"<ChannelName>{names[channel]}</ChannelName>"
                images += (
                    f"<Image><URL>{file}</URL><Row>3</Row><Col>11</Col><FieldID>2</FieldID>"
                    f"<PlaneID>{z + 1}</PlaneID><TimepointID>{time}</TimepointID>"
                    f"<ChannelID>{channel + 1}</ChannelID>{own}"
                    f'<ImageResolutionX Unit="m">6.5E-07</ImageResolutionX>'
                    f'<MeasurementTimeOffset Unit="s">{1800 * time + z}</MeasurementTimeOffset>'
                    "</Image>"
                )
    entries = "".join(
        f'<Entry ChannelID="{place + 1}"><ChannelName>{name}</ChannelName></Entry>'
        for place, name in enumerate(names)
    )
    (folder / "Index.idx.xml").write_text(
        '<?xml version="1.0"?><EvaluationInputData '
        'xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5">'
        "<Plates><Plate><PlateID>1</PlateID><Name>P7</Name></Plate></Plates>"
        f"<Maps><Map>{entries if shared_names else ''}</Map></Maps>"
        f"<Images>{images}</Images></EvaluationInputData>"
    )


@pytest.mark.parametrize("shared_names", [False, True])
def test_a_harmony_export_is_read_by_its_index(tmp_path: Path, shared_names: bool) -> None:
    write_harmony(tmp_path / "P7" / "Images", shared_names=shared_names)
    sources = discover(tmp_path, settings(z="max"))
    assert sources.channels == ("HOECHST 33342", "Brightfield")
    assert sources.rows["source_id"].tolist() == [f"P7/Images/C11_f2_t{t}" for t in range(2)]
    first = sources.rows.iloc[1]
    assert (first["plate"], first["well"], first["row"], first["column"], first["field"]) == (
        "P7",
        "C11",
        "C",
        "11",
        "2",
    )
    assert sources.rows["time_hours"].tolist() == [0, 0.5]
    assert sources.rows["pixel_size_um"].tolist() == [0.65, 0.65]
    for time, paths in enumerate(sources.rows["source_paths"]):
        image = read_stack([tmp_path / path for path in paths])
        np.testing.assert_array_equal(image, np.moveaxis(PIXELS[:, :, time].max(axis=0), 0, -1))


def test_one_plane_of_an_export_is_one_file(tmp_path: Path) -> None:
    write_harmony(tmp_path / "Images")
    sources = discover(tmp_path, settings(z="2", channels=("Brightfield",)))
    assert sources.rows["source_paths"][0] == ("Images/r03c11f02p02-ch2sk1fk1fl1.tiff",)
    with pytest.raises(SourceError, match=r"2 images have several z planes.*3 planes.*--z"):
        discover(tmp_path, settings())
    problems = discover(tmp_path, settings(z="4")).problems
    assert "no z plane 4; it has 1 to 3" in problems[0].reason


def test_a_file_that_the_index_names_and_is_missing_is_named(tmp_path: Path) -> None:
    write_harmony(tmp_path / "Images")
    (tmp_path / "Images" / "r03c11f02p01-ch2sk2fk1fl1.tiff").unlink()
    (problem,) = discover(tmp_path, settings(z="1")).problems
    assert problem.path == "Images/C11_f2_t1"
    assert "r03c11f02p01-ch2sk2fk1fl1.tiff, missing" in problem.reason


def test_the_layout_can_be_overruled(tmp_path: Path) -> None:
    write_harmony(tmp_path / "Images")
    assert len(discover(tmp_path, settings(layout="files")).rows) == 12
    pattern = "r{row:d}c{column:d}f{field:d}p{plane:d}-{channel}sk{time_index:d}fk1fl1.tiff"
    by_name = discover(tmp_path, settings(pattern=pattern, channels=("ch1", "ch2")))
    assert len(by_name.rows) == 6
    with pytest.raises(SourceError, match="no imagexpress export"):
        discover(tmp_path, settings(layout="imagexpress"))


@pytest.mark.parametrize(
    "layout",
    [
        "row;col;drug;dose\nC;11;DMSO;0,125\nC;12;Taxol;1\n",
        "well,drug,dose\nC11,DMSO,0.125\nC12,Taxol,1\n",
        "plate,well,drug,dose\nP7,c11,DMSO,0.125\nP8,C11,Taxol,1\n",
        "row,column,drug,dose\n3,11,DMSO,0.125\n3,12,Taxol,1\n",
    ],
)
def test_a_plate_layout_is_joined_by_what_it_shares(tmp_path: Path, layout: str) -> None:
    write_harmony(tmp_path / "Images")
    (tmp_path / "layout.csv").write_text(layout)
    chosen = settings(labels="table", table="layout.csv", label_column="drug", z="1")
    sources = discover(tmp_path, chosen)
    assert sources.rows["label"].tolist() == ["DMSO", "DMSO"]
    assert sources.rows["dose"].tolist() == [0.125, 0.125]
    assert any("1 of its 2 rows fit no image" in note for note in sources.notes)
    assert sources.problems == []


def test_wells_that_the_layout_leaves_out_or_repeats_are_problems(tmp_path: Path) -> None:
    for name in ("P1_B2.tif", "P1_B03.tif", "P1_B4.tif"):
        tifffile.imwrite(tmp_path / name, PIXELS[0, 0, 0])
    (tmp_path / "layout.csv").write_text("well,label\nB02,dead\nB3,dead\nB03,living\n")
    chosen = settings(labels="table", table="layout.csv", pattern="{plate}_{well}.tif")
    sources = discover(tmp_path, chosen)
    assert sources.rows["source_id"].tolist() == ["P1_B2.tif"]
    reasons = {problem.path: problem.reason for problem in sources.problems}
    assert "well=B03 stands in rows 3, 4 of layout.csv" in reasons["P1_B03.tif"]
    assert "no row in layout.csv for well=B04" in reasons["P1_B4.tif"]


def test_a_layout_that_shares_nothing_is_explained(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS[0, 0, 0])
    (tmp_path / "layout.csv").write_text("well,label\nB02,dead\n")
    with pytest.raises(SourceError, match=r"none that the images have, such as well"):
        discover(tmp_path, settings(labels="table", table="layout.csv"))


HTD = """"HTSInfoFile", Version 1.0
"TimePoints", 2
"XWells", 12
"YWells", 8
"WellsSelection2", FALSE, TRUE, TRUE, FALSE
"NWavelengths", 3
"WaveName1", "DAPI"
"WaveName2", "Texas Red"
"WaveName3", "Cy5"
"""


def test_an_imagexpress_export_is_read_by_its_index(tmp_path: Path) -> None:
    plate = tmp_path / "day1_Plate_3"
    for time in range(2):
        for z in range(3):
            folder = plate / f"TimePoint_{time + 1}" / f"ZStep_{z + 1}"
            folder.mkdir(parents=True)
            for channel in range(2):
                file = f"day1_B02_s4_w{channel + 1}{UUIDS[z]}.tif"
                tifffile.imwrite(folder / file, PIXELS[z, channel, time])
                thumb = f"day1_B02_s4_w{channel + 1}_thumb{UUIDS[z]}.tif"
                tifffile.imwrite(folder / thumb, PIXELS[z, channel, time, :4, :4])
        # The microscope's own projection lies beside the planes and is none of them.
        tifffile.imwrite(folder.parent / "day1_B02_s4_w1.tif", PIXELS[0, 0, time] + 1)
    for folder in (plate, plate / "TimePoint_1"):
        (folder / "day1.HTD").write_text(HTD)
    sources = discover(tmp_path, settings(z="mean"))
    assert sources.channels == ("DAPI", "Texas Red")
    assert sources.rows["source_id"].tolist() == [
        "day1_Plate_3/B02_f4_t0",
        "day1_Plate_3/B02_f4_t1",
    ]
    assert set(sources.rows["plate"]) == {"day1_Plate_3"}
    for time, paths in enumerate(sources.rows["source_paths"]):
        image = read_stack([tmp_path / path for path in paths])
        expected = np.rint(PIXELS[:, :, time].mean(axis=0)).astype(np.uint16)
        np.testing.assert_array_equal(image, np.moveaxis(expected, 0, -1))
    said = " ".join(sources.notes)
    assert "announces channels without files: Cy5" in said
    assert "announces wells without files: B03" in said
    assert "12 thumbnails left out" in said


def test_the_folders_of_time_points_are_no_classes(tmp_path: Path) -> None:
    for time in (1, 2):
        folder = tmp_path / "plate" / f"TimePoint_{time}"
        folder.mkdir(parents=True)
        tifffile.imwrite(folder / "day1_B02_s1_w1.tif", PIXELS[0, 0, 0])
    (tmp_path / "plate" / "day1.HTD").write_text(HTD)
    with pytest.raises(SourceError, match="a folder per class was expected"):
        discover(tmp_path / "plate", ConversionSettings())


def test_an_image_without_one_of_the_channels_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "day1.HTD").write_text(HTD)
    for name in ("B02_s1_w1", "B02_s1_w2", "B03_s1_w1"):
        tifffile.imwrite(tmp_path / f"day1_{name}.tif", PIXELS[0, 0, 0])
    (problem,) = discover(tmp_path, settings()).problems
    assert problem.path == "B03_f1"
    assert "channel Texas Red is missing (found: DAPI)" in problem.reason


def test_two_plates_exported_into_one_folder_are_both_read(tmp_path: Path) -> None:
    for plate in ("day1", "day2"):
        (tmp_path / f"{plate}.HTD").write_text(HTD)
        for well in ("B02", "B03"):
            tifffile.imwrite(tmp_path / f"{plate}_{well}_s1_w1.tif", PIXELS[0, 0, 0])
    sources = discover(tmp_path, settings())
    assert sources.rows["source_id"].tolist() == [
        f"{plate}_{well}_f1" for plate in ("day1", "day2") for well in ("B02", "B03")
    ]
    assert sources.rows["plate"].nunique() == 2


def test_metamorph_files_are_joined_by_their_nd_file(tmp_path: Path) -> None:
    (tmp_path / "exp.nd").write_text(
        '"NDInfoFile", Version 1.0\n"NTimePoints", 2\n"NStagePositions", 1\n"Stage1", "left"\n'
        '"NWavelengths", 2\n"WaveName1", "DIC"\n"WaveName2", "GFP"\n"EndFile"\n'
    )
    for time in range(2):
        # Here transmitted light is one plane, the other channel a stack.
        tifffile.imwrite(tmp_path / f"exp_w1DIC_s1_t{time + 1}.TIF", PIXELS[0, 0, time])
        tifffile.imwrite(
            tmp_path / f"exp_w2GFP_s1_t{time + 1}.tif",
            PIXELS[:, 1, time],
            imagej=True,
            metadata={"axes": "ZYX"},
        )
    sources = discover(tmp_path, settings(z="max"))
    assert sources.channels == ("DIC", "GFP")
    assert sources.rows["position"].tolist() == ["exp_s1_left"] * 2
    assert sources.rows["time_index"].tolist() == [0, 1]
    for time, paths in enumerate(sources.rows["source_paths"]):
        image = read_stack([tmp_path / path for path in paths])
        np.testing.assert_array_equal(image[..., 0], PIXELS[0, 0, time])
        np.testing.assert_array_equal(image[..., 1], PIXELS[:, 1, time].max(axis=0))


def test_real_imagexpress_plates_are_read(real_data: Path) -> None:
    folder = real_data / "microscope_formats" / "imagexpress"
    sources = discover(folder / "9987_Plate_3435", settings())
    assert sources.channels == ("DAPI", "FITC")
    assert sources.rows.groupby(["well", "field"])["time_index"].apply(list).to_dict() == {
        (well, field): [0, 1] for well in ("B02", "B03") for field in "12"
    }
    # The camera's own times: the second time point comes about half a minute after the first.
    steps = sources.rows.groupby(["well", "field"])["time_hours"].apply(lambda hours: np.ptp(hours))
    assert ((steps * 3600 > 20) & (steps * 3600 < 40)).all()
    mixed = discover(folder / "Projection-Mix", settings())
    assert mixed.rows["well"].tolist() == ["E07", "E08"]
    assert mixed.channels == ("w1", "w2", "w3")
    image = read_stack([folder / "Projection-Mix" / path for path in mixed.rows["source_paths"][0]])
    assert image.shape == (512, 512, 3)


def test_a_real_operetta_plate_meets_its_drug_layout(real_data: Path) -> None:
    folder = real_data / "microscope_formats" / "operetta_harmony"
    sources = discover(folder, settings(table="drug_layout.csv"))
    assert sources.rows["field"].tolist() == ["1", "2"]
    assert set(sources.rows["plate"]) == {"Test_Sample_BALL"}
    assert set(sources.rows["drug"]) == {"DMSO"}
    assert set(sources.rows["concentration"]) == {0.125}
    assert sources.channels == ("Fluorescein (FITC)",)


def test_times_in_file_names_become_hours(real_data: Path) -> None:
    pattern = "{plate}_{channel}_{well}_{field}_{time_hours}.tif"
    chosen = settings(pattern=pattern, channels=("P", "R"))
    folder = real_data / "hc01501_phase_timelapse"
    sources = discover(folder, chosen)
    assert sources.rows["time_hours"].tolist() == [0.5 * number for number in range(11)]
    image = read_stack([folder / path for path in sources.rows["source_paths"][0]])
    assert (image.shape, image.dtype) == ((1040, 1408, 2), np.uint16)
