"""Files that hold many images: what becomes a row, and which pixels it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tfrecords_tools import convert, plan_addition, write_dataset
from tfrecords_tools.discover import discover
from tfrecords_tools.errors import ImageError, PlanError, SourceError
from tfrecords_tools.images import read_image, read_stack
from tfrecords_tools.locator import Locator
from tfrecords_tools.plan import make_plan
from tfrecords_tools.planes import sharpness
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.sources import Sources
from tfrecords_tools.verify import verify_dataset

# Time, z, channel, height, width; every pixel of its own value.
FRAMES, PLANES, CHANNELS = 3, 4, 2
STACK = np.random.default_rng(0).permutation(3 * 4 * 2 * 16 * 18).astype(np.uint16)
STACK = STACK.reshape(FRAMES, PLANES, CHANNELS, 16, 18)
AXES = {"axes": "TZCYX"}


def settings(**more: object) -> ConversionSettings:
    return ConversionSettings(**{"labels": "none", **more})  # type: ignore[arg-type]


def images(source: Path, sources: Sources) -> Iterator[tuple[str, np.ndarray]]:
    for source_id, paths in zip(
        sources.rows["source_id"], sources.rows["source_paths"], strict=True
    ):
        yield source_id, read_stack([source / path for path in paths])


def write_hyperstack(path: Path, kind: str) -> None:
    if kind == "imagej":
        tifffile.imwrite(path, STACK, imagej=True, metadata={**AXES, "finterval": 1800})
    elif kind == "imagej-one-page":
        tifffile.imwrite(path, STACK, imagej=True, metadata={**AXES, "finterval": 1800})
        cut_after_first_page(path)
    else:
        times = {"TimeIncrement": 30, "TimeIncrementUnit": "min"}
        tifffile.imwrite(
            path, STACK, ome=True, metadata={**AXES, **times}, compression="zlib", rowsperstrip=4
        )


def cut_after_first_page(path: Path) -> None:
    """As ImageJ writes files above 4 GB: all pixels, and a description of the first page only."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        order = file.byteorder
        count = int(np.fromfile(path, f"{order}u2", 1, offset=page.offset)[0])
        link = page.offset + 2 + 12 * count
    with path.open("rb+") as file:
        file.seek(link)
        file.write(bytes(4))


@pytest.mark.parametrize("kind", ["imagej", "imagej-one-page", "ome"])
@pytest.mark.parametrize("z", ["2", "max", "mean"])
def test_every_time_of_a_hyperstack_is_an_image(tmp_path: Path, kind: str, z: str) -> None:
    write_hyperstack(tmp_path / "a.tif", kind)
    sources = discover(tmp_path, settings(z=z))
    assert sources.rows["time_index"].tolist() == [0, 1, 2]
    assert sources.rows["time_hours"].tolist() == [0.0, 0.5, 1.0]
    expected = {
        "2": STACK[:, 1],
        "max": STACK.max(axis=1),
        "mean": np.rint(STACK.mean(axis=1)).astype(np.uint16),
    }[z]
    for time, (source_id, image) in enumerate(images(tmp_path, sources)):
        assert source_id == f"a.tif#t={time}"
        np.testing.assert_array_equal(image, np.moveaxis(expected[time], 0, -1))


def test_best_focus_is_the_plane_before_blurring(tmp_path: Path) -> None:
    from scipy.ndimage import gaussian_filter

    sharp = np.random.default_rng(1).integers(0, 4000, (40, 40)).astype(np.float32)
    planes = [gaussian_filter(sharp, sigma) for sigma in (3, 1, 0.2, 2)]
    tifffile.imwrite(tmp_path / "a.tif", np.stack(planes), imagej=True, metadata={"axes": "ZYX"})
    assert max(planes, key=sharpness) is planes[2]
    ((_, image),) = images(tmp_path, discover(tmp_path, settings(z="focus")))
    np.testing.assert_array_equal(image[..., 0], planes[2])


def test_a_z_stack_without_a_choice_is_refused_once(tmp_path: Path) -> None:
    for name in "abcd":
        write_hyperstack(tmp_path / f"{name}.tif", "imagej")
    with pytest.raises(
        SourceError, match=r"4 files hold several z planes: a.tif \(4 planes\).*--z"
    ):
        discover(tmp_path, settings())


def test_a_plane_that_a_stack_does_not_have_is_a_problem_of_its_file(tmp_path: Path) -> None:
    write_hyperstack(tmp_path / "a.tif", "imagej")
    (problem,) = discover(tmp_path, settings(z="7")).problems
    assert (problem.path, problem.reason) == (
        "a.tif",
        "no z plane 7; it has 1 to 4; choose another",
    )
    with pytest.raises(ImageError, match="z plane 7, but it has planes 1 to 4"):
        read_image(tmp_path / "a.tif#t=0,z=7")


@pytest.mark.parametrize("z", ["0", "-1", "middle"])
def test_no_other_z_is_understood(z: str) -> None:
    with pytest.raises(PlanError, match="number of a plane from 1"):
        settings(z=z)


@pytest.mark.parametrize("pages", ["time", "z", "channel"])
@pytest.mark.parametrize("described", [True, False])
def test_pages_are_what_the_user_says(tmp_path: Path, pages: str, described: bool) -> None:
    planes = STACK[:, 0, 0]
    more = {} if described else {"metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="minisblack", **more)
    with pytest.raises(SourceError, match=r"1 file holds pages.*3 pages.*--pages"):
        discover(tmp_path, settings())
    found = [
        image for _, image in images(tmp_path, discover(tmp_path, settings(pages=pages, z="max")))
    ]
    if pages == "time":
        np.testing.assert_array_equal(np.stack(found)[..., 0], planes)
    elif pages == "z":
        np.testing.assert_array_equal(found[0][..., 0], planes.max(axis=0))
    else:
        np.testing.assert_array_equal(found[0], np.moveaxis(planes, 0, -1))


def test_colour_frames_keep_their_colours(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 10, 11, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", frames, photometric="rgb")
    found = [image for _, image in images(tmp_path, discover(tmp_path, settings(pages="time")))]
    np.testing.assert_array_equal(np.stack(found), frames)


def write_ome_plate(path: Path) -> None:
    """Two wells of two fields, two channels; the plate is added to tifffile's OME-XML."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for number in range(4):
            file.write(
                STACK[0, number],
                metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}},
                photometric="minisblack",
            )
    wells = "".join(
        f'<Well ID="Well:{column}" Row="1" Column="{column}">'
        + "".join(
            f'<WellSample ID="WellSample:{number}" Index="{number}"><ImageRef ID="Image:{number}"/>'
            "</WellSample>"
            for number in (2 * place, 2 * place + 1)
        )
        + "</Well>"
        for place, column in enumerate((2, 11))
    )
    document = tifffile.tiffcomment(path)
    plate = f'<Plate ID="Plate:0" Name="P7">{wells}</Plate>'
    tifffile.tiffcomment(path, document.replace("<Image ID", plate + "<Image ID", 1).encode())


def test_wells_and_fields_of_an_ome_tiff_become_rows(tmp_path: Path) -> None:
    write_ome_plate(tmp_path / "a.ome.tif")
    sources = discover(tmp_path, settings())
    assert sources.rows["well"].tolist() == ["B03", "B03", "B12", "B12"]
    assert sources.rows["field"].tolist() == ["1", "2", "1", "2"]
    assert set(sources.rows["plate"]) == {"P7"}
    assert sources.channels == ("DAPI", "GFP")
    for number, (_, image) in enumerate(images(tmp_path, sources)):
        np.testing.assert_array_equal(image, np.moveaxis(STACK[0, number], 0, -1))


def test_times_of_single_planes_stand_before_the_planned_step(tmp_path: Path) -> None:
    planes = {"DeltaT": [0.0, 60.0, 7200.0], "DeltaTUnit": ["s"] * 3}
    described = {"axes": "TYX", "TimeIncrement": 1.0, "Plane": planes}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK[:, 0, 0], ome=True, metadata=described)
    hours = discover(tmp_path, settings()).rows["time_hours"]
    np.testing.assert_allclose(hours, [0, 1 / 60, 2], rtol=1e-5)


def test_channels_of_a_file_are_chosen_and_ordered_by_name(tmp_path: Path) -> None:
    write_ome_plate(tmp_path / "a.ome.tif")
    sources = discover(tmp_path, settings(channels=("GFP",)))
    assert sources.notes == ["channels left out, as --channels does not name them: DAPI"]
    for number, (_, image) in enumerate(images(tmp_path, sources)):
        np.testing.assert_array_equal(image[..., 0], STACK[0, number, 1])
    turned = discover(tmp_path, settings(channels=("GFP", "DAPI")))
    _, image = next(images(tmp_path, turned))
    np.testing.assert_array_equal(image, np.moveaxis(STACK[0, 0, ::-1], 0, -1))


def test_the_only_channel_may_be_called_otherwise(tmp_path: Path) -> None:
    named = {"axes": "YX", "Channel": {"Name": "TL Brightfield"}}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK[0, 0, 0], ome=True, metadata=named)
    assert discover(tmp_path, settings()).channels == ("TL Brightfield",)
    renamed = discover(tmp_path, settings(channels=("phase",)))
    assert renamed.channels == ("phase",)
    assert renamed.notes == ["the only channel, TL Brightfield in the files, is called phase"]


def test_a_channel_that_no_file_has_is_said_once(tmp_path: Path) -> None:
    write_ome_plate(tmp_path / "a.ome.tif")
    with pytest.raises(
        SourceError, match=r"names Cy5, but no file has it; the files have DAPI, GFP"
    ):
        discover(tmp_path, settings(channels=("DAPI", "Cy5")))


def test_an_ome_tiff_in_several_files_is_read_once(tmp_path: Path) -> None:
    names = [f"t{number}.ome.tif" for number in range(2)]
    data = "".join(
        f'<TiffData FirstT="{number}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:'
        f"0000000{number}-0000-0000-0000-000000000000</UUID></TiffData>"
        for number, name in enumerate(names)
    )
    for number, name in enumerate(names):
        document = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:0000000{number}-0000-0000-0000-000000000000"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="18" SizeY="16" '
            f'SizeC="1" SizeZ="1" SizeT="2"><Channel ID="Channel:0:0" Name="phase"/>{data}'
            "</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / name, STACK[number, 0, 0], description=document, metadata=None)
    sources = discover(tmp_path, settings())
    found = [image[..., 0] for _, image in images(tmp_path, sources)]
    np.testing.assert_array_equal(np.stack(found), STACK[:2, 0, 0])
    (tmp_path / names[1]).unlink()
    assert [problem.path for problem in discover(tmp_path, settings()).problems] == [names[1]]


def test_channel_files_may_be_time_lapses(tmp_path: Path) -> None:
    for place, name in enumerate(("DNA", "ER")):
        frames = STACK[:, 0, place]
        tifffile.imwrite(
            tmp_path / f"B03_{name}.tif", frames, imagej=True, metadata={"axes": "TYX"}
        )
    chosen = settings(pattern="{well}_{channel}.tif", channels=("ER", "DNA"))
    sources = discover(tmp_path, chosen)
    assert sources.rows["source_id"].tolist() == [f"B03_{{channel}}.tif#t={t}" for t in range(3)]
    for time, (_, image) in enumerate(images(tmp_path, sources)):
        np.testing.assert_array_equal(image, np.moveaxis(STACK[time, 0, ::-1], 0, -1))
    tifffile.imwrite(
        tmp_path / "B03_ER.tif", STACK[:2, 0, 1], imagej=True, metadata={"axes": "TYX"}
    )
    (problem,) = discover(tmp_path, chosen).problems
    assert "holds 3 frames, but B03_ER.tif" in problem.reason


def test_a_table_labels_a_whole_time_lapse_or_its_frames(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, STACK[:, 0, 0], imagej=True, metadata={"axes": "TYX"})
    (tmp_path / "labels.csv").write_text(
        "path,time_index,label\na.tif,0,living\na.tif,1,living\na.tif,2,dead\nb.tif,,dead\n"
    )
    sources = discover(tmp_path, settings(labels="table", table="labels.csv"))
    assert sources.rows["label"].tolist() == ["living", "living", "dead", "dead", "dead", "dead"]
    assert sources.problems == []
    (tmp_path / "labels.csv").write_text("path,label\na.tif#t=1,living\nb.tif,dead\n")
    sources = discover(tmp_path, settings(labels="table", table="labels.csv"))
    assert [problem.path for problem in sources.problems] == ["a.tif#t=0", "a.tif#t=2"]
    assert sources.rows["source_id"].tolist() == ["a.tif#t=1", *(f"b.tif#t={t}" for t in range(3))]


def test_frames_of_a_time_lapse_never_cross_splits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        label = "dead" if number % 2 else "living"
        (tmp_path / label).mkdir(exist_ok=True)
        frames = rng.integers(0, 999, (4, 8, 8)).astype(np.uint16)
        axes = {"axes": "TYX"}
        tifffile.imwrite(tmp_path / label / f"{number}.tif", frames, imagej=True, metadata=axes)
        tifffile.imwrite(tmp_path / label / f"{number}_alone.tif", frames[0] + 1)
    plan = make_plan(tmp_path, ConversionSettings())
    assert plan.split_info["by"] == ["position"]
    assert len(plan.examples) == 12 * 5
    assert (plan.examples.groupby("position")["split"].nunique() == 1).all()
    assert set(plan.examples["split"]) == {"train", "validation", "test"}


def test_time_lapses_are_verified_repaired_and_continued(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = {
        f"{label}/{n}.tif": rng.integers(0, 999, (4, 8, 8)).astype(np.uint16)
        for label in ("dead", "living")
        for n in range(3)
    }

    def write(count: int) -> None:
        for name, pixels in frames.items():
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            axes = {"axes": "TYX"}
            tifffile.imwrite(tmp_path / "in" / name, pixels[:count], imagej=True, metadata=axes)

    write(3)
    dataset = convert(tmp_path / "in", tmp_path / "out")
    shard = next(dataset.folder.glob("*train*"))
    shard.write_bytes(shard.read_bytes()[:-3])
    found = verify_dataset(dataset.folder, repair=True)
    assert found.repaired == [shard.name]
    assert verify_dataset(dataset.folder).compared == 18
    write(4)
    longer = write_dataset(plan_addition(dataset, tmp_path / "in"), dataset.folder)
    assert len(longer.manifest) == 24
    assert (longer.manifest.groupby("position")["split"].nunique() == 1).all()


def test_listing_and_reading_touch_few_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hyperstack(tmp_path / "a.tif", "ome")
    decoded: list[int] = []
    real = tifffile.TiffPage.asarray

    def counted(page: tifffile.TiffPage, *args: object, **more: object) -> np.ndarray:
        decoded.append(page.index)
        return real(page, *args, **more)

    monkeypatch.setattr(tifffile.TiffPage, "asarray", counted)
    monkeypatch.setattr(tifffile.TiffFrame, "asarray", counted)
    sources = discover(tmp_path, settings(z="3"))
    assert decoded == []
    read_stack([tmp_path / path for path in sources.rows["source_paths"][1]])
    assert len(decoded) == CHANNELS


def test_files_are_closed_when_many_are_open(tmp_path: Path) -> None:
    from tfrecords_tools.container import OpenContainers

    opened = OpenContainers(limit=2)
    for name in "abc":
        tifffile.imwrite(tmp_path / f"{name}.tif", STACK[:, 0, 0], imagej=True)
    first = opened.open(tmp_path / "a.tif")
    assert opened.open(tmp_path / "a.tif") is first
    opened.open(tmp_path / "b.tif")
    opened.open(tmp_path / "c.tif")
    assert opened.open(tmp_path / "a.tif") is not first
    opened.close()


def test_a_stub_page_is_no_frame(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(STACK[0, 0, 0])
        file.write(np.zeros((1, 1), np.uint16))
    assert discover(tmp_path, settings()).rows["source_id"].tolist() == ["a.tif"]


def test_eight_bits_beside_sixteen_keep_their_share_of_the_range(tmp_path: Path) -> None:
    phase = (STACK[0, 0, 0] >> 8).astype(np.uint8)
    tifffile.imwrite(tmp_path / "phase.tif", phase)
    tifffile.imwrite(tmp_path / "red.tif", STACK[0, 0, 1])
    image = read_stack([tmp_path / "phase.tif", tmp_path / "red.tif"])
    np.testing.assert_allclose(image[..., 0] / 65535, phase / 255)
    np.testing.assert_array_equal(image[..., 1], STACK[0, 0, 1])


@pytest.mark.parametrize(
    "text",
    [
        "a/b #1.tif",
        "a.tif#t=3",
        "a.tif#scene=2,t=0,z=max,c=0+2",
        "p/a1.tif|a2.tif|../q/a3.tif#z=focus",
    ],
)
def test_a_locator_is_read_as_it_is_written(text: str) -> None:
    assert str(Locator.parse(text)) == text


def test_planes_in_files_of_their_own_are_projected(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"ZStep_{number}").mkdir()
        tifffile.imwrite(tmp_path / f"ZStep_{number}" / "a.tif", STACK[0, number, 0])
    locator = tmp_path / "ZStep_0" / "a.tif|../ZStep_1/a.tif|../ZStep_2/a.tif#z=max"
    np.testing.assert_array_equal(read_image(locator)[..., 0], STACK[0, :3, 0].max(axis=0))
