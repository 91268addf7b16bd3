"""DeadNet's two data sets from simulated time-lapses, by the commands and settings as shipped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from deadlib.cli.convert import main
from deadlib.simulation import simulate
from tfrecords_tools import open_dataset

ROOT = Path(__file__).parent.parent.parent
PATTERN = "images/{position}_t{time_index}.tif"
SMALL = ("--crop-px", "32", "--pattern", PATTERN)
CONFIG_A, CONFIG_B = (ROOT / "configs" / f"deadnet_{name}_data.yaml" for name in "ab")


def run(*arguments: str | Path) -> Result:
    words = [str(argument) for argument in arguments]
    if words[0] != "sequences":
        words += ["--workers", "1"]
    return CliRunner().invoke(main, words)


def text(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def lapses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 hours of 24 positions, 96 x 64 px, every second one unexposed, partly annotated."""
    folder = tmp_path_factory.mktemp("lapses") / "phase"
    simulate(
        "phase",
        folder,
        seed=1,
        positions=24,
        frames=10,
        interval_hours=2.4,
        width=96,
        height=64,
        density=2000.0,
        doses=(0.0, 200.0),
        annotators=3,
        responses=45,
        crop_px=32,
    )
    return folder


def test_data_set_a_is_whole_positions_by_dose_and_fate(lapses: Path, tmp_path: Path) -> None:
    """In a process of its own, as a lab types it."""
    command = [sys.executable, "-m", "deadlib.cli.convert", lapses, tmp_path / "a"]
    command += ["--settings", CONFIG_A, *SMALL, "--stride-px", "16", "--workers", "1"]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    dataset = open_dataset(tmp_path / "a")
    manifest = dataset.manifest
    positions = pd.read_csv(lapses / "positions.csv").set_index("position")
    # 5 x 3 crops of 32 px every 16 px of each of the first five frames.
    assert (manifest.groupby(["position", "time_index"]).size() == 15).all()
    assert manifest["time_index"].max() == 4
    doses = manifest["position"].map(positions["light_dose_s"])
    assert (doses[manifest["label"] == "healthy"] == 0).all()
    fate = manifest["position"].map(positions["dying_share"])
    assert (fate[manifest["label"] == "sick"] >= 0.9).all()
    assert set(manifest["position"][manifest["label"] == "healthy"]) == set(
        positions.index[positions["light_dose_s"] == 0]
    )
    assert (manifest.groupby("position")["split"].nunique() == 1).all()
    assert dataset.info["split"]["by"][-1] == "position"
    assert "--settings" in dataset.info["command"]
    assert dataset.info["settings"]["label_rules"][1].startswith("sick: dying_share >= 0.9")


def test_the_published_lattice_is_one_option(lapses: Path) -> None:
    result = run(
        lapses,
        "--dry-run",
        "--settings",
        CONFIG_A,
        *SMALL,
        "--stride-px",
        "16",
        "--lattice",
        "exclusive",
    )
    assert result.exit_code == 0, result.output
    assert "exclusive lattice" in text(result)
    everything = run(lapses, "--dry-run", "--settings", CONFIG_A, *SMALL, "--stride-px", "16")
    # 4 x 2 instead of 5 x 3 crops.
    assert examples_of(result) * 15 == examples_of(everything) * 8


def examples_of(result: Result) -> int:
    words = text(result).split()
    return int(words[words.index("examples") - 1])


def test_data_set_b_is_what_annotators_agree_on(lapses: Path, tmp_path: Path) -> None:
    done = run(lapses, tmp_path / "b", "--settings", CONFIG_B, *SMALL)
    assert done.exit_code == 0, done.output
    manifest = open_dataset(tmp_path / "b").manifest
    log = pd.read_csv(lapses / "annotations.csv")
    said = log.groupby("item")["response"].agg(lambda found: set(found.str.lower()))
    agreed = {item: next(iter(found)) for item, found in said.items() if len(found) == 1}
    agreed = {item: label for item, label in agreed.items() if label != "unsure"}
    assert 0 < len(agreed) < len(said)
    assert manifest.groupby("item")["label"].first().to_dict() == agreed
    assert (manifest.groupby("item").size() == 10).all()
    counts = log.groupby("item").size()
    assert (manifest["annotators"] == manifest["item"].map(counts)).all()
    assert set(counts[list(agreed)]) > {1}
    assert (manifest.groupby("position")["split"].nunique() == 1).all()
    assert f"{len(said)} items by 3 annotators" in text(done)


def test_unexposed_positions_are_extra_healthy(lapses: Path) -> None:
    arguments = (lapses, "--dry-run", "--settings", CONFIG_B, *SMALL)
    alone = run(*arguments)
    more = run(*arguments, "--label-rule", "healthy: light_dose_s == 0 and time_index < 3")
    assert more.exit_code == 0, more.output
    log = pd.read_csv(lapses / "annotations.csv")
    log = log[log["light_dose_s"] == 0]
    positions = pd.read_csv(lapses / "positions.csv")
    # 3 x 2 crops in three frames, but for those that annotators have seen, whatever they said.
    unseen = 6 * int((positions["light_dose_s"] == 0).sum()) - log["item"].nunique()
    assert examples_of(more) - examples_of(alone) == 3 * unseen > 0


def test_what_awaits_annotation_is_what_annotators_are_shown(lapses: Path, tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    listed = run("sequences", lapses, items, "--settings", CONFIG_B, *SMALL)
    assert listed.exit_code == 0, listed.output
    assert "144 sequences of 10 frames at 24 positions" in text(listed)
    table = pd.read_csv(items)
    log = pd.read_csv(lapses / "annotations.csv").drop_duplicates("item")
    shared = [name for name in table if name in log]
    assert {"item", "position", "top_px", "left_px", "first_frame", "frames"} <= set(shared)
    both = log.merge(table, on=shared)
    assert len(both) == len(log)
    again = run("sequences", lapses, items, "--settings", CONFIG_B, *SMALL)
    assert again.exit_code == 2
    assert "is there already" in again.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--label-rule", "sick: dose >= 1"], 1, "column dose: no such column"),
        (["--label-rule", "sick"], 2, "expected CLASS: conditions"),
        (["--labels", "annotations"], 2, "labels from annotations need one"),
        (["--annotations", "nowhere.csv"], 1, "no such annotation log"),
        (["--lattice", "exclusive", "--labels", "none"], 2, "give a crop size"),
        (["--settings", "{tmp}/typo.yaml"], 1, "lable_rules: no such setting; did you mean label_"),
        (["--settings", "{tmp}/nowhere.yaml"], 1, "cannot be read"),
    ],
)
def test_mistakes_are_explained(
    lapses: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "typo.yaml").write_text("lable_rules: []\n")
    result = run(
        lapses,
        "--dry-run",
        "--pattern",
        PATTERN,
        *(word.format(tmp=tmp_path) for word in arguments),
    )
    assert result.exit_code == code, result.output
    assert message in text(result)
    assert "Traceback" not in result.output


def test_what_stands_on_the_command_line_wins(lapses: Path, tmp_path: Path) -> None:
    settings = tmp_path / "data.yaml"
    settings.write_text("labels: none\ncrop_px: 16\nseed: 3\n")
    result = run(lapses, "--dry-run", "--pattern", PATTERN, "--settings", settings, "--seed", "4")
    assert result.exit_code == 0, result.output
    assert "crops of 16 px every 16 px" in text(result)
    assert "seed 4" in text(result)
