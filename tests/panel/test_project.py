"""Project folders: what becomes an item, whose pixels are read, what is refused."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from deadlib.errors import DeadlibError, PanelError, RecipeError
from deadlib.panel import PanelSettings, Project, create
from deadlib.panel.settings import settings_text
from tfrecords_tools import ConversionSettings, open_dataset
from tfrecords_tools.errors import ImageError, ToolsError


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 60_000, shape, dtype=np.uint16)


@pytest.fixture
def lapse(tmp_path: Path) -> Path:
    """Two positions of 5 frames, 8 x 12 px, in two channel files."""
    for position in (1, 2):
        for time in range(5):
            for place, channel in enumerate(("phase", "dye")):
                path = tmp_path / "lapse" / f"P{position}_t{time}_{channel}.tif"
                path.parent.mkdir(exist_ok=True)
                tifffile.imwrite(path, pixels(100 * position + 10 * time + place, 8, 12))
    return tmp_path / "lapse"


CHANNEL_FILES = {"pattern": "{position}_t{time_index}_{channel}.tif", "channels": ("phase", "dye")}


def test_every_image_of_a_folder_is_an_item(pictures: Path, tmp_path: Path) -> None:
    project = create(tmp_path / "project", pictures)
    assert len(project.items) == 24
    assert set(project.names) == {
        p.relative_to(pictures).as_posix() for p in pictures.rglob("*.png")
    }
    for number, name in enumerate(project.names):
        image = project.image(number)
        assert image.dtype == np.uint16
        assert (image[..., 0] == np.asarray(Image.open(pictures / name))).all()
    assert project.settings.channels[0].colour == "#ffffff"
    assert "label" not in project.items or project.label(0) is None


def test_a_project_is_opened_as_it_was_made(pictures: Path, tmp_path: Path) -> None:
    made = create(
        tmp_path / "project", pictures, seed=7, overlap_every=3, classes=("dead", "alive")
    )
    found = Project.open(tmp_path / "project")
    assert found.settings == made.settings
    assert found.names == made.names
    assert found.fingerprint == made.fingerprint
    assert found.settings.keys == {"dead": "1", "alive": "2", "unsure": "3"}
    assert (found.image(3) == made.image(3)).all()


def test_crops_are_the_windows_of_the_lattice(lapse: Path, tmp_path: Path) -> None:
    conversion = ConversionSettings(labels="none", crop_px=4, **CHANNEL_FILES)
    project = create(tmp_path / "project", lapse, conversion=conversion)
    assert len(project.items) == 10 * 6
    number = next(
        n for n, row in enumerate(project.items.to_dict("records"))
        if (row["path"], row["top_px"], row["left_px"]) == (project.items["path"][0], 4, 8)
    )  # fmt: skip
    image = project.image(number)
    assert image.shape == (4, 4, 2)
    assert (image[..., 1] == pixels(101, 8, 12)[4:, 8:]).all()
    assert [channel.name for channel in project.settings.channels] == ["phase", "dye"]
    assert project.names[number].endswith("_y4_x8"), "as deadlib-convert names examples"


def test_sequences_have_frames_of_all_channels(lapse: Path, tmp_path: Path) -> None:
    conversion = ConversionSettings(labels="none", crop_px=4, **CHANNEL_FILES)
    project = create(
        tmp_path / "project", lapse, conversion=conversion, frames=2, where=["position == P2"]
    )
    items = project.items
    assert len(items) == 2 * 6, "two runs of 2 frames, 6 crops"
    assert set(items["position"]) == {"P2"}
    row = items[(items["first_frame"] == 2) & (items["top_px"] == 4) & (items["left_px"] == 0)]
    number = int(row.index[0])
    assert project.frames(number) == 2
    for frame in range(2):
        image = project.image(number, frame)
        assert (image[..., 0] == pixels(220 + 10 * frame, 8, 12)[4:, :4]).all()
        assert (image[..., 1] == pixels(221 + 10 * frame, 8, 12)[4:, :4]).all()
    described = project.described()
    assert {"item", "position", "top_px", "height_px", "first_frame", "frames"} <= set(described)
    assert not {"frame_paths", "paths"} & set(described)


def test_the_windows_of_a_table_are_items(pictures: Path, tmp_path: Path) -> None:
    table = tmp_path / "windows.csv"
    rows = [("dead/000.png", 1, 2, 4, 5, "P1"), ("dead/000.png", 0, 0, 4, 4, "P1")]
    columns = ["path", "top_px", "left_px", "height_px", "width_px", "position"]
    pd.DataFrame(rows, columns=columns).to_csv(table, index=False)
    project = create(tmp_path / "project", pictures, windows=table, shown=["position"])
    assert project.names == ["dead/000.png_y1_x2", "dead/000.png_y0_x0"]
    whole = np.asarray(Image.open(pictures / "dead" / "000.png"))
    assert (project.image(0)[..., 0] == whole[1:5, 2:7]).all()
    assert project.shown(0) == {"position": "P1"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("../secret.png", 0, 0, 4, 4), "row 2: ../secret.png is no image"),
        (("/etc/passwd", 0, 0, 4, 4), "is no image"),
        (("dead/000.png", -1, 0, 4, 4), "expected whole pixels"),
        (("dead/000.png", 0, 0, 0, 4), "expected whole pixels"),
    ],
)
def test_a_window_that_cannot_be_one_is_refused(
    pictures: Path, tmp_path: Path, row: Sequence[Any], told: str
) -> None:
    columns = ["path", "top_px", "left_px", "height_px", "width_px"]
    pd.DataFrame([row], columns=columns).to_csv(tmp_path / "windows.csv", index=False)
    with pytest.raises(PanelError, match=told):
        create(tmp_path / "project", pictures, windows=tmp_path / "windows.csv")
    assert not (tmp_path / "project").exists()


def test_the_examples_of_a_dataset_are_items(pictures: Path, tmp_path: Path) -> None:
    from tfrecords_tools import convert

    convert(pictures, tmp_path / "dataset")
    dataset = open_dataset(tmp_path / "dataset")
    project = create(tmp_path / "project", tmp_path / "dataset")
    assert project.names == dataset.manifest["example_id"].tolist()
    assert (project.image(5) == dataset.read_example(5)).all()
    assert project.label(5) == dataset.manifest["label"][5]
    some = create(tmp_path / "test only", tmp_path / "dataset", split="test")
    rows = np.flatnonzero(dataset.manifest["split"] == "test")
    assert some.names == dataset.manifest["example_id"][rows].tolist()
    assert (some.image(1) == dataset.read_example(int(rows[1]))).all()
    with pytest.raises(ToolsError, match="no split 'nowhere'"):
        create(tmp_path / "none", tmp_path / "dataset", split="nowhere")


def test_a_ranked_panel_is_served_as_it_was_ranked(pictures: Path, tmp_path: Path) -> None:
    project = create(
        tmp_path / "project",
        pictures,
        rank=lambda items: items.sort_values("item", ascending=False),
    )
    assert project.names == sorted(project.names, reverse=True)
    assert project.settings.order == "listed"


def test_a_trial_needs_labels_and_enough_images(pictures: Path, tmp_path: Path) -> None:
    small = {"before": 2, "shown": 3, "after": 2}
    with pytest.raises(PanelError, match="needs 600, found 24"):
        create(tmp_path / "a", pictures, mode="trial", classes=("dead", "living"))
    with pytest.raises(PanelError, match=r"found no labels .*one folder for each class"):
        create(tmp_path / "b", pictures, mode="trial")
    with pytest.raises(PanelError, match="24 have none of dead, living"):
        create(tmp_path / "b", pictures, mode="trial", trial=small, classes=("dead", "living"))
    folders = ConversionSettings(labels="folder")
    made = create(tmp_path / "c", pictures, conversion=folders, mode="trial", trial=small)
    assert made.settings.keys == {"dead": "1", "living": "2"}, "in a trial everybody decides"


def test_a_folder_that_holds_something_is_not_written_to(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "mine.txt").write_text("mine")
    with pytest.raises(PanelError, match="is there already"):
        create(tmp_path / "project", pictures)
    assert [path.name for path in (tmp_path / "project").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "a/../../b.png", "a.tif|../b.tif#z=max"]
)
def test_no_path_leaves_the_source_folder(pictures: Path, tmp_path: Path, path: str) -> None:
    folder = tmp_path / "project"
    create(folder, pictures)
    items = pd.read_parquet(folder / "items.parquet")
    items["frame_paths"] = [[[path]] for _ in range(len(items))]
    items.to_parquet(folder / "items.parquet")
    with pytest.raises(PanelError, match="outside the source folder"):
        Project.open(folder).image(0)


def test_a_deleted_image_is_told_when_it_is_asked_for(pictures: Path, tmp_path: Path) -> None:
    source = tmp_path / "images"
    source.mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(source / "one.png")
    Image.fromarray(np.ones((4, 4), np.uint8)).save(source / "two.png")
    project = create(tmp_path / "project", source)
    (source / "two.png").unlink()
    assert project.image(0).max() == 0
    with pytest.raises(ImageError, match=r"two\.png"):
        project.image(1)
    for frame in (-1, 1, 10**9):
        with pytest.raises(PanelError, match="the item has 1"):
            project.image(0, frame)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"clases": ["a", "b"]}, "did you mean classes"),
        ({"classes": ["healthy"]}, "two classes apart or more"),
        ({"classes": {"healthy": "1", "sick": "1"}}, "a key of its own"),
        ({"classes": {"healthy": "h", "sick": "s"}, "unsure": "H"}, "a key of its own"),
        ({"classes": {"healthy": "1", "Healthy": "2"}}, "capitals only"),
        ({"classes": {"healthy": "1", "Unsure": "2"}}, "give `unsure` a key"),
        ({"classes": {"healthy": "1", "s\nick": "2"}}, "visible letters"),
        ({"classes": {"healthy": "Enter", "sick": "2"}}, "Enter"),
        ({"channels": [{"name": "dye", "colour": "red"}]}, "colour"),
        ({"overlap_every": -1}, "overlap_every"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    pictures: Path, tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    folder = tmp_path / "project"
    create(folder, pictures)
    text = settings_text(Project.open(folder).settings)
    import yaml

    (folder / "panel.yaml").write_text(yaml.safe_dump(yaml.safe_load(text) | settings))
    with pytest.raises(RecipeError, match=told):
        Project.open(folder)


def test_keys_are_numbers_or_letters_as_yaml_writes_them() -> None:
    found = PanelSettings.model_validate(
        {"source": "x", "classes": {"a": 1, "b": "q"}, "unsure": 3}
    )
    assert found.keys == {"a": "1", "b": "q", "unsure": "3"}


def test_a_folder_that_is_no_project_is_told(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(PanelError, match="deadlib-annotate create"):
        Project.open(tmp_path)
    create(tmp_path / "project", pictures)
    (tmp_path / "project" / "items.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(DeadlibError, match="cannot be read"):
        Project.open(tmp_path / "project")


def test_hidden_metadata_is_not_shown(lapse: Path, tmp_path: Path) -> None:
    conversion = ConversionSettings(labels="none", **CHANNEL_FILES)
    project = create(tmp_path / "project", lapse, conversion=conversion)
    assert project.shown(0) == {}
    with pytest.raises(PanelError, match="no metadata label"):
        create(tmp_path / "other", lapse, conversion=conversion, shown=["label"])


def test_an_image_of_other_channels_is_not_shown(tmp_path: Path) -> None:
    source = tmp_path / "images"
    source.mkdir()
    for name, shape in (("a", (4, 4, 3)), ("b", (4, 4))):
        Image.fromarray(np.zeros(shape, np.uint8)).save(source / f"{name}.png")
    project = create(tmp_path / "project", source)
    assert [channel.colour for channel in project.settings.channels] == [
        "#ff0000", "#00ff00", "#0000ff",
    ]  # fmt: skip
    assert project.image(0).shape == (4, 4, 3)
    with pytest.raises(PanelError, match=r"b.png: 1 channels, the panel has 3"):
        project.image(1)
    channels = [{"name": name, "colour": "#ffffff"} for name in "xy"]
    with pytest.raises(PanelError, match="3 channels, the panel has 2"):
        create(tmp_path / "other", source, channels=channels)


def test_metadata_never_passes_for_an_answer(pictures: Path, tmp_path: Path) -> None:
    rows = [(path.relative_to(pictures), "sick", 7) for path in pictures.rglob("*.png")]
    pd.DataFrame(rows, columns=["path", "response", "number"]).to_csv(tmp_path / "more.csv")
    conversion = ConversionSettings(labels="none", table=str(tmp_path / "more.csv"))
    project = create(tmp_path / "project", pictures, conversion=conversion)
    assert {"source_response", "source_number"} <= set(project.described())
    assert not {"response", "number"} & set(project.described())


def test_a_name_that_no_table_can_hold_is_told(tmp_path: Path) -> None:
    source = tmp_path / "images"
    source.mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(source / "a.png")
    try:
        os.rename(source / "a.png", os.fsencode(source) + b"/\xff.png")
    except OSError:
        pytest.skip("this file system refuses such names")
    with pytest.raises(PanelError, match="is not UTF-8"):
        create(tmp_path / "project", source)
