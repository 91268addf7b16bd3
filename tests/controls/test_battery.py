"""Planted shortcuts are found and called so; biology is not, and nothing is found in nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.stats import binom

from deadlib.bootstrap import Resampling
from deadlib.controls import Battery, Control, Examples, measure, run_battery, words
from deadlib.controls.battery import batch_indices
from deadlib.controls.control import Question, answer_of_probe, answer_of_scores
from deadlib.simulation import simulate

FEW = Resampling(200)


def plates(seed: int, shortcut: float = 0, cells: float = 0, uneven: float = 0.8) -> Question:
    """48 wells of two images on four plates; the class follows the plate where it is uneven."""
    rng = np.random.default_rng(seed)
    well = np.repeat(np.arange(48), 2)
    plate = well % 4
    share = np.where(plate % 2 == 0, 0.5 + uneven / 2, 0.5 - uneven / 2)
    target = (rng.random(48)[well] < share).astype(int)
    frame = pd.DataFrame({"plate": plate.astype(str)})
    question = Question.of(frame, target, well, plate)
    noise = rng.normal(0, 1, (96, 3)) + rng.normal(0, 0.5, (48, 3))[well]
    noise[:, 0] += shortcut * (plate % 2 == 0) + cells * target
    return question, noise


def test_a_shortcut_is_told_from_cells() -> None:
    verdicts = {
        name: answer_of_probe(features, question, FEW, 199).verdict
        for name, (question, features) in {
            "shortcut": plates(1, shortcut=4, uneven=0.6),
            "itself": plates(2, cells=4, uneven=0),
            "nothing": plates(3),
        }.items()
    }
    assert verdicts == {name: name for name in verdicts}


def test_false_alarms_are_as_rare_as_p_says() -> None:
    rounds = 60
    found = [answer_of_probe(*reversed(plates(seed)), FEW, 99) for seed in range(rounds)]
    most = binom.ppf(0.999, rounds, 0.05)
    assert sum(answer.p_all <= 0.05 for answer in found) <= most
    assert sum(answer.p_same <= 0.05 for answer in found) <= most
    assert np.mean([answer.all.value for answer in found]) == pytest.approx(0.5, abs=0.04)
    assert not any(answer.verdict in ("shortcut", "partly") for answer in found)


def test_a_model_that_knows_the_plate_only_is_told_from_one_that_knows_the_cells() -> None:
    question, _ = plates(4, uneven=0.6)
    rng = np.random.default_rng(0)
    for known, verdict in ((question.strata % 2 == 0, "shortcut"), (question.target, "itself")):
        score = known + rng.normal(0, 0.3, 96)
        answer = answer_of_scores(np.stack([-score, score], axis=1), question, FEW, 199)
        assert answer.verdict == verdict


def test_plates_of_one_class_each_are_inseparable() -> None:
    question, features = plates(5, shortcut=4, uneven=1)
    answer = answer_of_probe(features, question, FEW, 199)
    assert answer.verdict == "inseparable"
    assert answer.p_same is None


def test_a_handful_of_groups_of_the_rarer_class_proves_nothing() -> None:
    question, features = plates(5, shortcut=4, uneven=1)
    target = question.target.copy()
    target[:4] = 1 - target[:4]  # two wells
    few = Question.of(pd.DataFrame(index=range(96)), target, question.groups, question.strata)
    answer = answer_of_probe(features, few, FEW, 199)
    assert answer.rarer == 2
    assert answer.same.value is not None
    assert answer.verdict == "inseparable"


def test_eight_wells_are_too_few_and_the_report_does_not_call_that_harmless() -> None:
    well = np.repeat(np.arange(8), 10)
    frame = pd.DataFrame({"plate": "P1", "well": well.astype(str)}, index=range(80))
    bright = np.random.default_rng(0).normal(10 * (well % 2)[:, None], 0.1, (80, 3))
    examples = Examples(frame, well % 2, well, np.full((80, 2), 0.5), images={"intensity": bright})
    battery = run_battery(examples, FEW, permutations=199)
    intensity = battery.controls[0]
    assert intensity.answer.all.value == 1
    assert intensity.answer.least_all == pytest.approx(1 / 70)
    assert intensity.verdict == "too_few"
    assert "too few" in words.meaning(intensity, battery)
    assert not any("No shortcut" in remark.text for remark in words.conclusions(battery))


def test_groups_that_are_whole_plates_say_nothing_of_plates() -> None:
    plate = np.repeat(np.arange(10), 8)
    frame = pd.DataFrame({"plate": plate.astype(str)}, index=range(80))
    target = np.tile([0, 1], 40)
    examples = Examples(frame, target, plate, np.full((80, 2), 0.5), np.eye(10)[plate])
    battery = run_battery(examples, FEW, permutations=99)
    told = {control.key: control for control in [*battery.controls, *battery.probes]}
    assert told["plate"].verdict == told["batch"].verdict == "unmeasured"
    assert "every plate lies in one group" in words.meaning(told["plate"], battery)


def test_without_plates_nobody_can_say_more() -> None:
    question, features = plates(5, cells=4, uneven=0)
    alone = Question.of(pd.DataFrame(index=range(96)), question.target, question.groups, None)
    assert answer_of_probe(features, alone, FEW, 199).verdict == "unclear"


def test_one_group_is_no_reason_to_fall() -> None:
    question, features = plates(6, cells=3, uneven=0)
    alone = Question.of(pd.DataFrame(index=range(96)), question.target, np.zeros(96, int), None)
    answer = answer_of_probe(features, alone, FEW, 99)
    assert answer.all.reason == "one group only"
    assert answer.all.value > 0.8


def test_plate_1_of_two_experiments_is_two_plates() -> None:
    frame = pd.DataFrame({"experiment": list("AABB"), "plate": [1, 2, 1, 2]})
    assert {name: index.tolist() for name, index in batch_indices(frame).items()} == {
        "experiment": [0, 0, 1, 1],
        "plate": [0, 1, 2, 3],
    }
    assert list(batch_indices(frame.assign(plate=frame["experiment"]))) == ["experiment"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Battery:
    """The battery on simulated images: lamps differ, plates favour classes, cells do not differ."""
    folder = tmp_path_factory.mktemp("planted") / "images"
    simulate(
        "phase",
        folder,
        effect=0.0,
        shortcut={"brightness": 0.5},
        plates=4,
        positions=140,
        positions_per_well=1,
        frames=1,
        width=64,
        height=64,
        seed=1,
    )
    return battery_of(folder)


def battery_of(folder: Path) -> Battery:
    frame = pd.read_csv(folder / "images.csv")
    images = [tifffile.imread(folder / name)[..., None] for name in frame["path"]]
    seen = measure(lambda number: images[number], len(images))
    sick = (frame["label"] == "sick").to_numpy().astype(int)
    wells = np.unique((frame["plate"] + frame["well"]).to_numpy(str), return_inverse=True)[1]
    guess = np.full((len(frame), 2), 0.5)
    examples = Examples(frame, sick, wells, guess, seen["intensity"], seen)
    return run_battery(examples, FEW, permutations=199)


def by_key(controls: list[Control]) -> dict[str, str]:
    return {control.key: control.verdict for control in controls}


def test_a_planted_lamp_is_found_by_what_sees_it_and_by_nothing_else(planted: Battery) -> None:
    found = by_key(planted.controls)
    assert {found[key] for key in ("intensity", "background", "batch")} == {"shortcut"}
    assert {found[key] for key in ("cell_count", "position")} == {"nothing"}
    assert planted.batch == "plate"
    assert planted.probes[0].verdict in ("itself", "partly")


def test_every_control_is_told_in_words(planted: Battery) -> None:
    for control in [planted.model, *planted.controls, *planted.probes]:
        said = words.meaning(control, planted)
        assert said.endswith(".")
        assert "None" not in said
        assert "nan" not in said
    assert next(remark.level for remark in words.conclusions(planted)) == "warning"
    shortcut = next(c for c in planted.controls if c.key == "intensity")
    assert "tells the plate, and nothing shows" in words.meaning(shortcut, planted)


def test_what_is_missing_is_said() -> None:
    question, _ = plates(7)
    frame = pd.DataFrame(index=range(96))
    examples = Examples(
        frame, question.target, question.groups, np.full((96, 2), 0.5), no_images="no dataset"
    )
    battery = run_battery(examples, FEW, permutations=19)
    assert {c.verdict for c in battery.controls} == {"unmeasured"}
    assert "no dataset" in words.meaning(battery.controls[0], battery)
    assert battery.probes == []
    assert battery.batch is None
