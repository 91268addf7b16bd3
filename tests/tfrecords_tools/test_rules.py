"""Labels by rules over what is known of an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tfrecords_tools.append import addition_settings, plan_addition
from tfrecords_tools.card import data_card
from tfrecords_tools.conversion import convert
from tfrecords_tools.discover import discover
from tfrecords_tools.errors import PlanError
from tfrecords_tools.plan import make_plan
from tfrecords_tools.rules import LabelRule, columns_of, parse_rule
from tfrecords_tools.settings import ConversionSettings
from tfrecords_tools.verify import verify_dataset

SETTINGS = ConversionSettings(
    labels="rules",
    label_rules=("healthy: light_dose_s == 0", "sick: dying_share >= 0.9 and time_index < 2"),
    pattern="{position}_t{time_index}.png",
    table="positions.csv",
    fractions=(0.5, 0.25, 0.25),
)
# Doses and shares that only compare rightly as numbers: 9 < 10, "0" == 0.0, and 0.9 <= 1.
POSITIONS = {
    "P01": ("0", "0.05"),
    "P02": ("0.0", "0.9"),
    "P03": ("0", ""),
    "P04": ("0", "0"),
    "P05": ("200", "1"),
    "P06": ("100", "0.90"),
    "P07": ("200", "0.95"),
    "P08": ("9", "0.89"),
    "P09": ("50", ""),
    "P10": ("200", "0.99"),
}
FRAMES = 3


@pytest.fixture
def lapses(tmp_path: Path) -> Path:
    """Time-lapses of ten positions, and a table of them that has a label of its own."""
    folder = tmp_path / "lapses"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for position in POSITIONS:
        for frame in range(FRAMES):
            write_frame(folder, position, frame, rng)
    write_positions(folder, POSITIONS)
    return folder


def write_frame(folder: Path, position: str, frame: int, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 4096, (8, 8), dtype=np.uint16)
    Image.fromarray(pixels).save(folder / f"{position}_t{frame:03}.png")


def write_positions(folder: Path, positions: dict[str, tuple[str, str]]) -> None:
    rows = [f"{name},{dose},{share},x" for name, (dose, share) in positions.items()]
    text = "\n".join(["position,light_dose_s,dying_share,label", *rows]) + "\n"
    (folder / "positions.csv").write_text(text)


def test_a_rule_reads_as_it_is_written() -> None:
    text = "sick: dying_share >= 0.9 and time_index < 5"
    rule = parse_rule("  sick :dying_share>=0.9   and time_index < 5 ")
    assert str(rule) == text
    assert columns_of([text, "healthy: light_dose_s == 0 and time_index < 5"]) == [
        "dying_share",
        "time_index",
        "light_dose_s",
    ]
    assert parse_rule("dead: drug == 'CPT 11'").conditions[0].value == "CPT 11"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("light_dose_s == 0", "expected CLASS: conditions"),
        ("sick:", "expected CLASS: conditions"),
        ("sick: light_dose_s = 0", "no condition"),
        ("sick: light_dose_s === 0", "no condition"),
        ("sick: light_dose_s", "no condition"),
        ("sick: light_dose_s > 0 or time_index < 3", "a rule of its own"),
        ("sick: 0 < light_dose_s < 80", "no condition"),
        ("sick: light_dose_s > 0 and", "no condition"),
        ("sick: time_index < early", "should be a number"),
    ],
)
def test_what_is_no_rule_is_explained(text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        parse_rule(text)


@given(st.integers(-30, 30), st.integers(-30, 30), st.sampled_from(["{}", "{}.0", "{:03}"]))
def test_numbers_are_compared_as_numbers(found: int, wanted: int, spelling: str) -> None:
    outcome = {
        name: parse_rule(f"a: x {name} {wanted}").holds({"x": spelling.format(found)})
        for name in ("==", "!=", "<", "<=", ">", ">=")
    }
    assert outcome == {
        "==": found == wanted,
        "!=": found != wanted,
        "<": found < wanted,
        "<=": found <= wanted,
        ">": found > wanted,
        ">=": found >= wanted,
    }


@pytest.mark.parametrize("name", ["==", "!=", "<", "<=", ">", ">="])
def test_an_absent_value_meets_no_condition(name: str) -> None:
    rule: LabelRule = parse_rule(f"a: x {name} 1")
    assert not rule.holds({"x": None})
    assert not rule.holds({})


def test_dose_and_fate_label_the_frames_and_the_rest_is_left_out(lapses: Path) -> None:
    plan = make_plan(lapses, SETTINGS)
    frames = plan.examples.groupby(["position", "label"]).size().to_dict()
    healthy = {(f"P0{number}", "healthy"): FRAMES for number in (1, 2, 3, 4)}
    assert frames == healthy | {(name, "sick"): 2 for name in ("P05", "P06", "P07", "P10")}
    assert plan.examples["time_index"].dtype == np.int64
    assert (
        "label rules: 12 healthy, 8 sick; 10 of 30 images meet no rule and are left out"
        in plan.audit["notes"]
    )
    # What the rules look at makes the label; the table's own label is another matter.
    assert [item["column"] for item in plan.audit["confounding"]] == []
    assert "source_label" in plan.examples


def test_positions_never_cross_splits(lapses: Path) -> None:
    plan = make_plan(lapses, SETTINGS)
    assert plan.split_info["by"] == ["position"]
    assert (plan.examples.groupby("position")["split"].nunique() == 1).all()


def test_a_class_taken_from_other_times_is_told(lapses: Path) -> None:
    rules = ("healthy: light_dose_s == 0 and time_index == 2", "sick: time_index < 2")
    plan = make_plan(lapses, replace(SETTINGS, label_rules=rules))
    assert "time_index" in [item["column"] for item in plan.audit["confounding"]]


def test_the_first_rule_that_holds_gives_the_label(lapses: Path) -> None:
    rules = ("odd: dying_share == 0.9", *SETTINGS.label_rules)
    sources = discover(lapses, replace(SETTINGS, label_rules=rules))
    labels = sources.rows.groupby("position")["label"].unique()
    assert labels["P02"].tolist() == labels["P06"].tolist() == ["odd"]
    assert labels["P01"].tolist() == ["healthy"]


def test_a_rule_that_nothing_meets_is_a_warning(lapses: Path) -> None:
    rules = (*SETTINGS.label_rules, "dazed: light_dose_s == 77")
    plan = make_plan(lapses, replace(SETTINGS, label_rules=rules))
    assert (
        "label rule 'dazed: light_dose_s == 77' gives no image its label"
        in (plan.audit["warnings"])
    )
    assert plan.classes == ("healthy", "sick")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("sick: light_dose == 0", "column light_dose: no such column; did you mean light_dose_s?"),
        ("sick: label == x", "no such column; there are .*source_label"),
        ("sick: position > 3", "P01_t000.png has position P01, expected a number"),
        ("sick: light_dose_s > 900", "no image meets a label rule"),
    ],
)
def test_a_rule_that_does_not_fit_the_images_is_refused(
    lapses: Path, rule: str, message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        make_plan(lapses, replace(SETTINGS, label_rules=(rule,)))


def test_a_position_without_a_row_is_named(lapses: Path) -> None:
    write_positions(lapses, {name: row for name, row in POSITIONS.items() if name != "P04"})
    sources = discover(lapses, SETTINGS)
    assert {problem.path for problem in sources.problems} == {
        f"P04_t{frame:03}.png" for frame in range(FRAMES)
    }


def test_new_images_are_all_kept_and_labelled_where_the_rules_say_so(lapses: Path) -> None:
    plan = make_plan(lapses, SETTINGS.for_prediction(), classes=("healthy", "sick"))
    assert plan.examples["label"].value_counts(dropna=False).to_dict() == {
        "healthy": 12,
        None: 10,
        "sick": 8,
    }
    (lapses / "positions.csv").unlink()
    alone = make_plan(lapses, SETTINGS.for_prediction(), classes=("healthy", "sick"))
    assert alone.examples["label"].isna().all()
    assert len(alone.examples) == 30


def test_a_dataset_of_rules_is_added_to_verified_and_tells_what_was_left_out(
    lapses: Path, tmp_path: Path
) -> None:
    dataset = convert(lapses, tmp_path / "dataset", SETTINGS)
    assert verify_dataset(dataset.folder).damaged == []
    assert any("10 of 30 images meet no rule" in note for note in data_card(dataset)["notes"])
    rng = np.random.default_rng(1)
    for frame in range(FRAMES):
        write_frame(lapses, "P11", frame, rng)
    write_positions(lapses, POSITIONS | {"P11": ("300", "1")})
    plan = plan_addition(dataset, lapses, addition_settings(dataset, {}))
    assert plan.new_examples == 2
    assert plan.examples["label"].iloc[-1] == "sick"
