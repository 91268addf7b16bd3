"""deadlib-convert as a person calls it: what it prints, writes, and says about mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from scenes import HEIGHT_PX, WIDTH_PX, field, scene, write_fields

from deadlib.cli.convert import main
from tfrecords_tools import open_dataset


def write_image(path: Path, number: int, side_px: int = 8) -> None:
    pixels = np.random.default_rng(number).integers(0, 255, (side_px, side_px), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(12):
        write_image(tmp_path / "images" / ("dead", "living")[number % 2] / f"{number}.png", number)
    return tmp_path / "images"


def run_alone(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, in a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "deadlib.cli.convert", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_images_become_a_dataset_and_the_output_says_how_to_go_on(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    done = run_alone(source, out, "--workers", "1", "--examples-per-shard", "3")
    assert done.returncode == 0, done.stderr
    assert "dataset images: 12 examples (whole images) of 12 images" in done.stdout
    assert "checked: 12 groups (image), none in two splits" in done.stdout
    assert f"{out}: 12 examples in" in done.stdout
    assert f"next: deadlib-inspect {out}" in done.stderr
    assert "Traceback" not in done.stderr
    assert "tensorflow" not in done.stderr.lower()
    info = json.loads((out / "deadlib.json").read_text())
    assert info["classes"] == ["dead", "living"]
    assert info["settings"]["labels"] == "folder"
    again = run_alone(source, out)
    assert again.returncode == 1
    assert "already holds a dataset" in again.stderr
    assert "--overwrite" in again.stderr


def test_help_is_quick_and_shows_both_ways_of_use() -> None:
    start = time.monotonic()
    done = run_alone("--help")
    assert time.monotonic() - start < 2  # 0.1 s on an idle machine
    assert "deadlib-convert images dataset" in done.stdout
    assert "--channels DNA,ER,AGP,Mito" in done.stdout


def test_a_dry_run_shows_the_plan_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = run(source, "--dry-run", "--tile", "2x2")
    assert result.exit_code == 0, result.output
    assert "tiles, 2 x 2 of each image" in result.output
    assert "groups (12 of 12 shown)" in result.output
    assert "images-train.tfrecord-00000" in result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_bad_images_are_listed_and_nothing_is_written(source: Path, tmp_path: Path) -> None:
    (source / "dead" / "0.png").write_bytes(b"")
    write_image(source / "living" / "1.png", 1, side_px=9)
    done = run_alone(source, tmp_path / "dataset")
    assert done.returncode == 1
    assert "2 images or rows cannot be used" in done.stderr
    assert "dead/0.png: the file is empty" in done.stderr
    assert "living/1.png: 9 x 9 px" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "dataset").exists()


def test_skipped_images_are_listed(source: Path) -> None:
    (source / "dead" / "0.png").write_bytes(b"")
    result = run(source, "--dry-run", "--on-bad-image", "skip")
    assert result.exit_code == 0, result.output
    assert "left out: dead/0.png: the file is empty" in result.output
    assert "11 examples" in result.output


def test_confounding_is_a_loud_warning(tmp_path: Path) -> None:
    for number in range(24):
        label, plate = (("dead", "P1"), ("living", "P2"))[number % 2]
        write_image(tmp_path / f"{label}_{plate}_{number}.png", number)
    pattern = "{label}_{plate}_{field}.png"
    result = run(tmp_path, "--pattern", pattern, "--dry-run", "--split-by", "source_id")
    assert result.exit_code == 0, result.output
    assert "WARNING: plate and label are confounded" in result.output
    assert "No honest split by plate exists" in result.output


def test_a_table_here_is_meant_before_one_in_the_source(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, rows = "path,label\n", [f"{('dead', 'living')[n % 2]}/{n}.png" for n in range(12)]
    (source / "labels.csv").write_text(header + "".join(f"{row},wrong\n" for row in rows))
    labels = "".join(f"{row},{'ab'[place % 2]}\n" for place, row in enumerate(rows))
    (tmp_path / "labels.csv").write_text(header + labels)
    monkeypatch.chdir(tmp_path)
    result = run(source, "--table", "labels.csv", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "wrong" not in result.output


def test_class_names_with_brackets_are_printed_as_they_are(tmp_path: Path) -> None:
    for number in range(12):
        write_image(tmp_path / ("[red]dead", "living")[number % 2] / f"{number}.png", number)
    assert "[red]dead" in run(tmp_path, "--dry-run").output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{source}"], 2, "give OUT"),
        (["{source}", "{tmp}/out", "--tile", "2by2"], 2, "ROWSxCOLUMNS"),
        (["{source}", "{tmp}/out", "--fractions", "most,some"], 2, "three shares"),
        (["{source}", "--dry-run", "--boxes", "a.csv", "--table", "b.csv"], 2, "two tables"),
        (["{tmp}/nowhere", "{tmp}/out"], 1, "no such folder"),
        (["{source}", "{source}/out"], 1, "lies inside the source folder"),
        (["{source}", "{source}/dead/0.png"], 1, "lies inside the source folder"),
        (["{source}", "{tmp}/file"], 1, "a file, expected"),
        (["{source}", "--dry-run", "--fractions", "1,1,1"], 2, "add up to 1"),
        (["{source}", "--dry-run", "--tile", "0x2"], 2, "1x1 or more"),
        (["{source}", "--dry-run", "--crop-px", "0"], 2, "1 px or more"),
        (["{source}", "--dry-run", "--hold-out", "plate1"], 2, "expected column=value"),
        (["{source}", "--dry-run", "--channels", "a,a"], 2, "a name stands twice"),
        (["{source}", "--dry-run", "--tile", "2x2", "--crop-px", "4"], 2, "choose one"),
        (["{source}", "--dry-run", "--split-by", "example", "--split-by", "well"], 2, "no other"),
        (["{source}", "--dry-run", "--name", "a/b"], 2, "letters, digits"),
        (["{source}", "--dry-run", "--split-by", "plate"], 1, "there are source_id, label"),
        (["{source}", "--dry-run", "--hold-out", "source_id=x"], 1, "no example has it"),
        (["{source}", "--dry-run", "--table", "none.csv"], 1, "no such table"),
        (["{source}", "--dry-run", "--pattern", "celldeaht"], 1, "or the preset celldeath"),
        (["{source}", "--dry-run", "--pattern", "{{label}}-{{n}}.png"], 1, "does not fit"),
        (["{source}", "--dry-run", "--crop-px", "99"], 1, "too small for a crop of 99 px"),
    ],
)
def test_mistakes_are_explained(
    source: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "file").touch()
    result = run(*(argument.format(source=source, tmp=tmp_path) for argument in arguments))
    assert result.exit_code == code, result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_what_is_new_is_added_and_nothing_new_is_said(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    assert run(source, out, "--tile", "2x2").exit_code == 0
    nothing = run(source, out, "--append")
    assert nothing.exit_code == 0, nothing.output
    assert "nothing new" in nothing.output
    for number in range(12, 16):
        write_image(source / ("dead", "living")[number % 2] / f"{number}.png", number)
    shown = run(source, out, "--append", "--dry-run")
    assert "dry run" in shown.output
    assert len(open_dataset(out).manifest) == 48
    done = run(source, out, "--append", "--tile", "2x2")
    assert done.exit_code == 0, done.output
    assert "64 examples (16 of them new)" in done.output
    assert " && " in open_dataset(out).info["command"]
    assert "12 images are in the dataset already" in done.output


def test_verify_says_what_is_sound_and_what_is_not(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    assert run(source, out).exit_code == 0
    sound = run("verify", out)
    assert sound.exit_code == 0, sound.output
    assert "sound; 12 examples agree with their manifest, 12 of them with their" in sound.output
    shard = next(out.glob("*-train.tfrecord-*"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:50] + b"x" + whole[51:])
    damaged = run("verify", out, "--workers", "1")
    assert damaged.exit_code == 1
    assert f"damaged: {shard.name}: damaged or edited" in damaged.output
    assert "1 file is damaged; --repair writes" in damaged.output
    repaired = run("verify", out, "--repair", "--workers", "1")
    assert repaired.exit_code == 0, repaired.output
    assert f"repaired: {shard.name}" in repaired.output
    assert shard.read_bytes() == whole
    nowhere = run("verify", tmp_path / "nowhere")
    assert nowhere.exit_code == 1
    assert "no dataset directory" in nowhere.output


def test_a_folder_named_verify_is_converted_by_its_path(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.rename(tmp_path / "verify")
    monkeypatch.chdir(tmp_path)
    result = run("./verify", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "dataset verify: 12 examples" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--append", "--crop-px", "4"], 1, "--crop-px 4: "),
        (["--append", "--hold-out", "source_id=x"], 1, "--hold-out source_id=x: "),
        (["--append", "--overwrite"], 2, "choose one"),
    ],
)
def test_an_addition_that_contradicts_the_dataset_is_refused(
    source: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    out = tmp_path / "dataset"
    assert run(source, out).exit_code == 0
    result = run(source, out, *arguments)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.output.split())
    assert run(source, tmp_path / "none", "--append").exit_code == 1


def test_a_number_of_tiles_is_a_grid(source: Path) -> None:
    done = run(source, "--dry-run", "--tiles", "8", "--workers", "1")
    assert done.exit_code == 0, done.output
    assert "96 examples (tiles, 2 x 4 of each image)" in done.output
    both = run(source, "--dry-run", "--tiles", "4", "--tile", "2x2")
    assert both.exit_code == 2
    assert "two grids; choose one" in both.output


def test_classes_that_stand_in_names(source: Path) -> None:
    for number, path in enumerate(sorted(source.rglob("*.png"))):
        path.rename(source / f"{('CPT', 'DMSO')[number % 2]}_{number}.png")
    done = run(source, "--dry-run", "--label-names", "CPT,DMSO,dead", "--workers", "1")
    assert done.exit_code == 0, done.output
    assert "CPT" in done.output
    missing = run(source, "--dry-run", "--label-names", "CPT,other", "--workers", "1")
    assert missing.exit_code == 1
    assert "DMSO_1.png: its name has none of the labels CPT, other" in missing.output


def test_fields_that_overlap_across_splits_are_said_aloud_and_joined(tmp_path: Path) -> None:
    fields = {}
    for label in ("dead", "living"):
        for strip in range(4):
            ground = scene(10 * strip + len(label), HEIGHT_PX, 3 * WIDTH_PX)
            for n in range(3):
                name = f"{label}/{'abcd'[strip]}_{n}.png"
                fields[name] = field(ground, 0, n * WIDTH_PX // 2, n)
    source = write_fields(tmp_path / "images", fields)
    torn = run(source, "--dry-run", "--split-by", "source_id", "--workers", "1")
    assert "of these pairs stand in two splits" in torn.output
    how = ("--dry-run", "--split-by", "source_id", "--workers", "1")
    joined = run(source, *how, "--join-similar")
    assert "8 sets of groups joined" in joined.output
    assert "pairs stand in two splits" not in joined.output
    assert "show the same cells" not in run(source, *how, "--no-find-similar").output
