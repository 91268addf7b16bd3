from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from deadlib.bootstrap import Resampling
from deadlib.cli.doses import main
from deadlib.doses import Doses, doses_of, hits_of, wells_of
from deadlib.doses.figures import dose_text, plain_name
from deadlib.predictions import open_predictions, write_predictions

Write = Callable[[pd.DataFrame], Path]
QUICK = Resampling(200)


@pytest.fixture
def found(screen: pd.DataFrame, written: Write) -> Doses:
    return doses_of(written(screen), resampling=QUICK)


def test_half_effects_and_turns_lie_where_they_were_put(found: Doses) -> None:
    ec50 = {(c.compound, c.name): c.ec50 for c in found.curves}
    turns = {turn.compound: turn for turn in found.turns}
    for compound, way, truth in (
        ("Erastin", "ferroptosis", turn_of(1.0)),
        ("Stauro", "apoptosis", turn_of(0.3)),
    ):
        place, turn = ec50[compound, way], turns[compound]
        assert place.low is not None
        assert place.high is not None
        assert place.over == "plates"
        assert (turn.before, turn.after) == ("healthy", way)
        assert turn.dose.value == pytest.approx(truth, rel=0.35)
    assert ec50["Inert", "healthy"].value is None
    assert "chance" in str(ec50["Inert", "healthy"].reason)
    assert turns["Inert"].dose.reason == "called healthy at every dose"


def turn_of(half: float) -> float:
    """Where -1.5 + 5.5 s = 2 - 4.5 s: s = 0.35 of a curve with slope 1.6."""
    return float(half * (0.35 / 0.65) ** (1 / 1.6))


def test_hits_are_those_that_were_planted(found: Doses) -> None:
    sure = {(hit.compound, hit.name) for hit in found.hits if hit.q <= 0.05}
    assert {("Erastin", "ferroptosis"), ("Stauro", "apoptosis")} <= sure
    assert not any(compound == "Inert" for compound, _ in sure)
    best = found.hits[0]
    assert best.effect.low is not None
    assert best.effect.value is not None
    assert best.q >= best.p
    assert abs(best.strongest) >= abs(best.effect.value)


def test_p_of_wells_that_are_alike_is_even(screen: pd.DataFrame, written: Write) -> None:
    """Compounds that do nothing: p below 0.1 about one time in ten."""
    rng = np.random.default_rng(0)
    doses = 40 * 5
    frame = pd.DataFrame(
        {
            "plate": "P1",
            "well": [f"W{k}" for k in range(doses + 24)],
            "treatment": [f"C{k // 5}" for k in range(doses)] + ["DMSO"] * 24,
            "concentration_um": [10.0 ** (k % 5) for k in range(doses)] + [np.nan] * 24,
            "probability_healthy": rng.uniform(0.6, 1, doses + 24),
        }
    )
    frame["probability_dead"] = 1 - frame.probability_healthy
    hits, _ = hits_of(wells_of(open_predictions(written(frame))), QUICK)
    p = [hit.p for hit in hits if hit.name == "dead"]
    assert len(p) == 40
    assert sum(value < 0.1 for value in p) <= 10
    assert not any(hit.q < 0.01 for hit in hits)


def test_without_controls_there_is_no_hit_list_but_curves(
    screen: pd.DataFrame, written: Write
) -> None:
    found = doses_of(written(screen[screen.treatment != "DMSO"]), resampling=QUICK)
    assert not found.hits
    assert found.curves[0].hill is not None
    assert any("No plate has 3 control wells" in remark.text for remark in found.remarks)


def test_one_dose_gives_hits_and_no_curve(screen: pd.DataFrame, written: Write) -> None:
    one = screen[screen.concentration_um.isna() | (screen.concentration_um == 100)]
    found = doses_of(written(one), resampling=QUICK)
    assert {curve.ec50.reason for curve in found.curves} == {"1 dose; a curve takes 5"}
    assert any(hit.compound == "Erastin" for hit in found.hits)


def test_wells_that_taught_the_model_are_told(screen: pd.DataFrame, written: Write) -> None:
    table = open_predictions(written(screen))
    for metadata, told in ({}, False), ({"seen_in_training": 1200}, True):
        path = table.path.with_suffix(".parquet")
        write_predictions(path, replace(table, metadata=metadata))
        remarks = [remark.text for remark in doses_of(path, resampling=QUICK).remarks]
        assert any("1,200 of 234 rows are of images" in text for text in remarks) == told


def test_the_command_writes_all_and_says_what_it_found(
    screen: pd.DataFrame, written: Write, tmp_path: Path
) -> None:
    done = CliRunner().invoke(
        main, [str(written(screen)), "--out", str(tmp_path / "out"), "--bootstrap", "100"]
    )
    assert done.exit_code == 0, done.output
    assert "2 of 3 compounds change the answers" in done.output
    assert "Erastin: the call turns from healthy to ferroptosis" in done.output
    out = tmp_path / "out"
    told = json.loads((out / "doses.json").read_text())
    assert told["wells"] == 81
    assert told["control_wells"] == 36
    assert len(pd.read_csv(out / "hits.csv")) == 9
    assert list(pd.read_csv(out / "curves.csv").columns[:5]) == [
        "compound", "class", "ec50", "low", "high",
    ]  # fmt: skip
    table = pd.read_csv(out / "dose_table.csv")
    assert len(table) == 3 * (27 + 1)
    top = table[(table.compound == "Erastin") & (table.dose == 100)]
    assert (top.wells_called_ferroptosis == 1).all()
    assert (top.viability < 0.3).all()
    page = (out / "doses.html").read_text()
    assert "Answers against viability" in page
    assert "Plate P3" in page
    for name in ("dose_response", "plate_P1", "plate_P2", "plate_P3"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 10_000


def test_a_mistake_is_told_without_a_traceback(written: Write, screen: pd.DataFrame) -> None:
    done = CliRunner().invoke(main, [str(written(screen)), "--dose", "concentration"])
    assert done.exit_code == 1
    assert "no column concentration" in done.output
    assert "did you mean" in done.output
    done = CliRunner().invoke(main, [str(written(screen)), "--column", "dish=Plate"])
    assert done.exit_code == 2


def measured(written: Write, cells: float | None = None) -> Path:
    """A share that is half way at dose 5 of nine, in three wells of each; and six control wells."""
    dose = np.concatenate([np.repeat(np.arange(1.0, 10), 3), np.zeros(6)])
    rng = np.random.default_rng(0)
    share = 0.4 + 0.4 / (1 + np.exp(-2 * (dose - 5))) + rng.normal(0, 0.01, len(dose))
    frame = pd.DataFrame(
        {
            "plate": "P1",
            "well": [f"W{k}" for k in range(len(dose))],
            "treatment": np.where(dose > 0, "Drug", "DMSO"),
            "step": dose,
            "viability": 1 - dose / 20,
            "nucleus_share_GFP": share,
        }
    )
    frame.loc[0, "nucleus_share_GFP"] = cells
    return written(frame)


def test_a_measured_share_has_a_half_effect_dose_of_its_own(written: Write, tmp_path: Path) -> None:
    command = [str(measured(written)), "--readout", "nucleus_share_GFP", "--dose", "step"]
    command += ["--scale", "index", "--bootstrap", "200", "--out", str(tmp_path / "doses")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "1 rows without nucleus_share_GFP are left out" in result.output
    curves = pd.read_csv(tmp_path / "doses/curves.csv")
    assert curves["class"].tolist() == ["nucleus_share_GFP"]
    assert curves.ec50[0] == pytest.approx(5, abs=0.1)
    assert (curves.start[0], curves.end[0]) == pytest.approx((0.4, 0.8), abs=0.02)
    assert len(pd.read_csv(tmp_path / "doses/hits.csv")) == 1
    assert not (tmp_path / "doses/turns.csv").exists()
    assert "Where the call turns" not in (tmp_path / "doses/doses.html").read_text()


def test_a_readout_beyond_0_to_1_is_refused(written: Write) -> None:
    result = CliRunner().invoke(
        main,
        [str(measured(written, cells=8.6)), "--readout", "nucleus_share_GFP", "--dose", "step"],
    )
    assert result.exit_code == 1
    assert "row 1, column nucleus_share_GFP: found 8.6, expected a share in 0 to 1" in result.output


def test_plates_in_any_script_have_files_of_their_own() -> None:
    assert [plain_name(text) for text in ("Platte α", "Platte β", "E1/P1", "/")] == [
        "Platte_α",
        "Platte_β",
        "E1_P1",
        "plate",
    ]


def test_compounds_that_cannot_be_hits_are_told(written: Write) -> None:
    """One well beside 15 controls: the most extreme of 16 deals."""
    frame = pd.DataFrame(
        {
            "plate": "P1",
            "well": [f"W{k}" for k in range(20)],
            "treatment": ["A", "B", "C", "C", "C"] + ["DMSO"] * 15,
            "concentration_um": 1.0,
            "probability_dead": [0.9] * 5 + [0.1 + 0.001 * k for k in range(15)],
        }
    )
    frame["probability_living"] = 1 - frame.probability_dead
    hits, remarks = hits_of(wells_of(open_predictions(written(frame))), QUICK)
    assert {hit.compound for hit in hits if hit.q <= 0.05} == {"C"}
    assert any("2 of 3 compounds cannot be hits" in text and "0.062" in text for text in remarks)


@pytest.mark.parametrize(
    ("dose", "text"), [(100.0, "100"), (0.0316, "0.032"), (9.44e-05, "9.4e-05"), (1.0, "1")]
)
def test_doses_on_an_axis_are_told_in_two_digits(dose: float, text: str) -> None:
    assert dose_text(np.log10(dose), 0) == text
