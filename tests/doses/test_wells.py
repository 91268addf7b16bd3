from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deadlib.aggregation import HOW, aggregate
from deadlib.doses.wells import Columns, as_number, wells_of
from deadlib.errors import PredictionError
from deadlib.predictions import open_predictions

Write = Callable[[pd.DataFrame], Path]


def test_fields_become_wells_and_wells_of_two_plates_stay_two(
    screen: pd.DataFrame, written: Write
) -> None:
    wells = wells_of(open_predictions(written(screen)))
    assert len(wells.frame) == screen.groupby(["plate", "well"]).ngroups == 3 * (12 + 27)
    assert set(wells.frame["rows"]) == {2}
    assert len(wells.controls) == 36
    assert wells.controls.dose.isna().all()
    first = screen[(screen.plate == "P2") & (screen.well == "B03")]
    row = wells.frame[(wells.frame.plate == "P2") & (wells.frame.well == "B03")].iloc[0]
    assert row.probability_healthy == pytest.approx(first.probability_healthy.mean())


def test_the_median_is_not_moved_by_one_field(screen: pd.DataFrame, written: Write) -> None:
    one = screen[(screen.plate == "P1") & (screen.well == "A01")].iloc[[0]]
    odd = one.assign(probability_healthy=0.0, probability_apoptosis=1.0, probability_ferroptosis=0)
    frame = pd.concat([screen, one, one, odd])
    by = {
        how: wells_of(open_predictions(written(frame)), how=how).frame.probability_healthy.iloc[0]  # type: ignore[arg-type]
        for how in ("mean", "median")
    }
    assert by["median"] > by["mean"] + 0.1


def test_wells_answer_as_deadlib_aggregate_has_it(screen: pd.DataFrame, written: Write) -> None:
    table = open_predictions(written(pd.concat([screen, screen.iloc[::3]])))
    for how in HOW:
        ours = wells_of(table, how=how).frame.set_index(["plate", "well"])
        theirs = aggregate(table, how=how).frame.set_index(["plate", "well"]).loc[ours.index]
        for name in ("probability_ferroptosis", "predicted"):
            assert ours[name].tolist() == theirs[name].tolist()


def test_plates_of_two_experiments_with_one_name_are_two(
    screen: pd.DataFrame, written: Write
) -> None:
    again = screen.assign(experiment="B", viability=screen.viability / 2)
    frame = pd.concat([screen.assign(experiment="A"), again])
    wells = wells_of(open_predictions(written(frame)))
    assert len(wells.frame) == 2 * 3 * (12 + 27)
    assert set(wells.frame.plate) == {f"{e}/P{p}" for e in "AB" for p in (1, 2, 3)}
    one = wells_of(open_predictions(written(frame[frame.experiment == "A"])))
    assert set(one.frame.plate) == {"P1", "P2", "P3"}


@pytest.mark.parametrize(
    ("cell", "number"),
    [("0,5", 0.5), ("1,00E-02", 0.01), ("3.5", 3.5), (7, 7.0), (" ", None), (None, None)],
)
def test_numbers_as_plate_readers_write_them(cell: object, number: float | None) -> None:
    found = as_number(cell)
    assert np.isnan(found) if number is None else found == number


@pytest.mark.parametrize("cell", ["high", "inf", "1,000,000", "1.000,5"])
def test_what_is_no_number_is_refused(cell: str) -> None:
    with pytest.raises(ValueError, match=r"could not convert|inf"):
        as_number(cell)


def broken(screen: pd.DataFrame, **values: object) -> pd.DataFrame:
    frame = screen.astype(dict.fromkeys(values, object))
    for column, value in values.items():
        frame.loc[frame.index[-1], column] = value
    return frame


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: broken(s, concentration_um="high"), r"row 234, column concentration_um: found"
         " 'high', expected a dose as a number, 0 or more; rows like this: 1"),
        (lambda s: broken(s, concentration_um=-1), "expected a dose as a number, 0 or more"),
        (lambda s: broken(s, viability="dead"), "column viability: found 'dead'"),
        (lambda s: broken(s, treatment="Erastin"), "well D03 of plate P3 has more than one comp"),
        (lambda s: broken(s, concentration_um=7), "well D03 of plate P3 has more than one dose"),
        (lambda s: s.drop(columns="well"), "no column well"),
        (lambda s: s.drop(columns="concentration_um"), "another one: --dose COLUMN"),
        (lambda s: s[s.treatment == "DMSO"], "no well with a dose"),
        (lambda s: s.assign(well=None), "no row has a plate, a well and a treatment"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_in_words(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
    screen: pd.DataFrame,
    written: Write,
) -> None:
    with pytest.raises(PredictionError, match=message):
        wells_of(open_predictions(written(change(screen))))


def test_what_is_missing_is_left_out_and_told(screen: pd.DataFrame, written: Write) -> None:
    none = (screen.plate == "P1") & (screen.treatment == "Erastin") & (screen.well == "B01")
    screen.loc[none, "concentration_um"] = np.nan
    screen.loc[(screen.plate == "P2"), "viability"] = np.nan
    wells = wells_of(open_predictions(written(screen)))
    assert "1 wells without a dose are left out." in wells.remarks
    assert any("Viability is missing for 39 of 116 wells" in remark for remark in wells.remarks)


def test_tables_without_plate_compound_or_viability(screen: pd.DataFrame, written: Write) -> None:
    frame = screen[(screen.plate == "P1") & screen.treatment.isin(["DMSO", "Erastin"])]
    frame = frame.assign(label=frame.treatment.map({"DMSO": "negative"}))
    frame = frame.drop(columns=["plate", "treatment", "viability"])
    wells = wells_of(open_predictions(written(frame)), controls=["label=negative"])
    assert wells.compounds == ["all wells"]
    assert len(wells.controls) == 12
    assert len(wells.remarks) == 3


def test_other_names_and_numbered_doses(screen: pd.DataFrame, written: Write) -> None:
    screen["step"] = screen.groupby("treatment")["concentration_um"].rank("dense")
    frame = screen.rename(columns={"treatment": "Drug", "plate": "Plate"})
    columns = Columns(plate="Plate", compound="Drug", dose="step")
    wells = wells_of(open_predictions(written(frame)), columns, scale="index")
    assert sorted(wells.treated.place.unique()) == list(range(1, 10))
    assert wells.of_place(4.5) == 4.5


def test_dose_0_has_no_logarithm(screen: pd.DataFrame, written: Write) -> None:
    screen.loc[screen.concentration_um == screen.concentration_um.min(), "concentration_um"] = 0
    wells = wells_of(open_predictions(written(screen)))
    assert np.isfinite(wells.treated.place).all()
    assert any("9 wells with dose 0 are left out" in remark for remark in wells.remarks)
