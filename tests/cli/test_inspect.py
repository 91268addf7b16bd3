"""deadlib-inspect prints the card, warns loudly and writes the sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from scenes import HEIGHT_PX, WIDTH_PX, field, scene, write_fields

from deadlib.cli.inspect import main
from tfrecords_tools import ConversionSettings, convert, open_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, twelve wells each; every dead cell was imaged on plate [2]."""
    folder = tmp_path_factory.mktemp("inspect")
    rng = np.random.default_rng(0)
    for label, plate in (("living", "[1]"), ("dead", "[2]")):
        (folder / "images" / label).mkdir(parents=True)
        for well in range(12):
            pixels = rng.integers(0, 4000, (16, 16), dtype=np.uint16)
            name = f"{plate}_B{well:02}.png"
            Image.fromarray(pixels).save(folder / "images" / label / name)
    settings = ConversionSettings(labels="folder", pattern="{plate}_{well}.png")
    return convert(folder / "images", folder / "dataset", settings).folder


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_it_prints_the_card_and_writes_the_sheet_beside_the_dataset(dataset):
    result = _run(dataset)
    assert result.exit_code == 0, result.output
    assert "dataset images: 24 examples of 24 images" in result.stdout
    assert "examples by class and split" in result.stdout
    assert "none in two splits" in result.stdout
    sheet = dataset.with_name("dataset-sheet.png")
    assert f"contact sheet: {sheet}" in result.stdout
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"


def test_names_with_brackets_are_printed_as_they_are(dataset, tmp_path):
    result = _run(dataset, "--sheet", tmp_path / "a.png")
    assert "[1]" in result.stdout
    assert "[2]" in result.stdout


def test_confounding_is_told_on_stderr(dataset, tmp_path):
    result = _run(dataset, "--sheet", tmp_path / "a.png")
    assert "WARNING: " in result.stderr
    assert "plate" in result.stderr


def test_it_shows_what_each_plate_is_like(dataset, tmp_path):
    result = _run(dataset, "--sheet", tmp_path / "a.png")
    assert "intensities of each plate" in result.stdout


def test_the_sheet_goes_where_it_is_asked_to(dataset, tmp_path):
    result = _run(dataset, "--sheet", tmp_path / "look.png", "--per-class", 2)
    assert result.exit_code == 0
    assert (tmp_path / "look.png").is_file()


def test_verify_names_an_edited_shard_in_one_line(dataset, tmp_path):
    shard = next(dataset.glob("*-train.tfrecord-*"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        assert _run(dataset, "--sheet", tmp_path / "a.png").exit_code == 0
        result = _run(dataset, "--verify")
    finally:
        shard.write_bytes(whole)
    assert result.exit_code == 1
    assert f"{shard.name}: damaged or edited" in result.stderr
    assert "Traceback" not in result.output
    assert "all files agree" in _run(dataset, "--verify", "--sheet", tmp_path / "b.png").stdout


def test_a_folder_that_is_no_dataset_is_refused_in_one_line(tmp_path):
    result = _run(tmp_path)
    assert result.exit_code == 1
    assert "no dataset directory" in result.stderr
    assert result.stderr.count("\n") == 1


def test_one_example_is_shown_by_its_id(dataset, tmp_path):
    opened = open_dataset(dataset)
    row = opened.manifest.iloc[3]
    result = _run(dataset, "--example", row["example_id"], "--out", tmp_path / "one.png")
    assert result.exit_code == 0, result.output
    assert row["label"] in result.stdout
    assert row["image_sha256"][:12] in result.stdout
    with Image.open(tmp_path / "one.png") as picture:
        shown = np.asarray(picture)[88 : 88 + 256, 12 : 12 + 256, 0][8::16, 8::16]
    pixels = opened.read_example(3)[..., 0]
    low, high = np.percentile(pixels, [0.5, 99.5])
    expected = 255 * np.clip((pixels - low) / (high - low), 0, 1)
    np.testing.assert_allclose(shown, expected, atol=1)


def test_without_out_the_picture_lies_beside_the_dataset(dataset):
    example_id = open_dataset(dataset).manifest["example_id"].iloc[0]  # such as dead/[2]_B01.png
    result = _run(dataset, "--example", example_id)
    assert result.exit_code == 0, result.output
    folder, _, file = example_id.partition("/[")
    assert dataset.with_name(f"dataset-{folder}_{file.replace(']', '_')}.png").is_file()


def test_an_unknown_id_is_answered_with_the_nearest(dataset):
    example_id = open_dataset(dataset).manifest["example_id"].iloc[0]
    result = _run(dataset, "--example", example_id + "x")
    assert result.exit_code == 1
    assert f"the nearest are {example_id}" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_picture_without_an_example_is_a_usage_error(dataset, tmp_path):
    assert _run(dataset, "--out", tmp_path / "a.png").exit_code == 2


def test_pairs_that_show_the_same_cells_are_listed_and_drawn(tmp_path):
    ground = scene(1, HEIGHT_PX, 4 * WIDTH_PX)
    fields = {
        f"{('dead', 'living')[n % 2]}/f_{n}.png": field(ground, 0, n // 2 * WIDTH_PX // 2, n)
        for n in range(6)
    }
    source = write_fields(tmp_path / "images", fields)
    settings = ConversionSettings(tile=(2, 2), split_by=("source_id",))
    convert(source, tmp_path / "dataset", settings)
    out = tmp_path / "pairs.png"
    result = CliRunner().invoke(main, [str(tmp_path / "dataset"), "--similar", str(out)])
    assert result.exit_code == 0, result.output
    assert "dead/f_0.png and dead/f_2.png: 50% in common" in result.output
    assert Image.open(out).width > 900
