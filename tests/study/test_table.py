from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from deadlib.bootstrap import Estimate, Resampling
from deadlib.errors import PredictionError
from deadlib.recipe import parse_recipe
from deadlib.study import parse_study
from deadlib.study.answers import Answers, pooled, read_answers
from deadlib.study.cells import Cell
from deadlib.study.table import Done, Row, Spread, csv_text, latex_text, rows_of, shown

RESAMPLING = Resampling(200)


def answers(seed: int, repeats: int = 2, groups: int = 6, name: str = "w") -> Answers:
    rng = np.random.default_rng(seed)
    y = np.tile([0, 1], 3 * groups).astype(np.intp)
    p = np.clip(y * 0.4 + rng.random((repeats, len(y))) * 0.6, 0, 1)
    return Answers(
        classes=("dead", "living"),
        class_index=y,
        probabilities=np.stack([1 - p, p], axis=2),
        groups=np.repeat([f"{name}{g}" for g in range(groups)], 6),
    )


def done(name: str, found: Answers | None, failed: dict[str, str] | None = None) -> Done:
    recipe = parse_recipe({"dataset": "none"})
    repeats = 0 if found is None else len(found.probabilities)
    figures = [{"train_loss": 0.1 + r, "validation_loss": None} for r in range(repeats)]
    return Done(Cell({"fold": name}, (recipe,) * 2), figures, found, failed or {})


def rows(*cells: Done) -> list[Row]:
    study = parse_study({"recipe": {}, "axes": [{"folds": 2}]})
    return rows_of(study, cells, RESAMPLING)


def test_a_test_figure_is_the_mean_over_repeats() -> None:
    found = answers(0, repeats=3)
    expected = [roc_auc_score(found.class_index, p[:, 1]) for p in found.probabilities]
    row = rows(done("fold 0", found))[0]
    assert row.spreads["roc_auc"].mean == pytest.approx(np.mean(expected))
    assert row.spreads["roc_auc"].deviation == pytest.approx(np.std(expected, ddof=1))
    assert row.spreads["accuracy"].best == max(row.spreads["accuracy"].values)  # type: ignore[type-var]


def test_its_interval_holds_the_mean_and_comes_from_groups() -> None:
    found = answers(0)
    row = rows(done("fold 0", found))[0]
    test = row.tests["accuracy"]
    assert test.value == pytest.approx(row.spreads["accuracy"].mean)
    assert test.low is not None
    assert test.high is not None
    assert test.low < row.spreads["accuracy"].mean < test.high  # type: ignore[operator]
    assert (row.images, row.groups, row.repeats) == (36, 6, 2)


def test_repeats_of_the_same_answers_make_no_interval_narrower() -> None:
    one = answers(0, repeats=1)
    same = Answers(one.classes, one.class_index, one.probabilities.repeat(5, axis=0), one.groups)
    repeated = same.measured(RESAMPLING)
    for name, estimate in one.measured(RESAMPLING).items():
        assert (repeated[name].low, repeated[name].high) == pytest.approx(
            (estimate.low, estimate.high)
        )


def test_folds_together_are_one_test() -> None:
    one, other = answers(0, name="a"), answers(1, name="b")
    *_, together = rows(done("fold 0", one), done("fold 1", other))
    y = np.concatenate([one.class_index, other.class_index])
    p = np.concatenate([one.probabilities, other.probabilities], axis=1)
    expected = [roc_auc_score(y, repeat[:, 1]) for repeat in p]
    assert together.pools == ("fold 0", "fold 1")
    assert together.spreads["roc_auc"].values == pytest.approx(expected)
    assert (together.images, together.groups) == (72, 12)


def test_folds_are_not_joined_where_one_failed() -> None:
    found = rows(done("fold 0", answers(0)), done("fold 1", None, {"fold 1": "no memory"}))
    assert [row.pools for row in found] == [(), ()]
    assert found[1].repeats == 0


def test_what_has_other_classes_or_repeats_is_not_joined() -> None:
    one = answers(0)
    assert pooled([one, answers(1, repeats=1)]) is None
    other = Answers(("dead", "dying"), one.class_index, one.probabilities, one.groups)
    assert pooled([one, other]) is None


def test_a_group_in_two_cells_is_one_group() -> None:
    together = pooled([answers(0, name="a"), answers(1, name="a")])
    assert together is not None
    assert len(np.unique(together.groups)) == 6


def table_of(path: Path, ids: list[str], seed: int) -> Path:
    p = np.random.default_rng(seed).random(len(ids))
    frame = pd.DataFrame(
        {
            "example_id": ids,
            "group": [name[0] for name in ids],
            "label": ["dead" if name[1] == "0" else "living" for name in ids],
            "probability_dead": p,
            "probability_living": 1 - p,
        }
    )
    frame.sample(frac=1, random_state=seed).to_parquet(path)
    return path


def test_repeats_are_matched_by_example_whatever_their_order(tmp_path: Path) -> None:
    ids = ["a0", "a1", "b0", "b1", "c0", "c1"]
    paths = [table_of(tmp_path / f"{seed}.parquet", ids, seed) for seed in (1, 2)]
    found = read_answers(paths, None)
    assert found.probabilities.shape == (2, 6, 2)
    for repeat, seed in zip(found.probabilities, (1, 2), strict=True):
        assert repeat[:, 0] == pytest.approx(np.random.default_rng(seed).random(6))
    assert list(found.groups) == ["a", "a", "b", "b", "c", "c"]


def test_tables_of_other_images_are_no_repeats(tmp_path: Path) -> None:
    one = table_of(tmp_path / "one.parquet", ["a0", "b1"], 0)
    other = table_of(tmp_path / "other.parquet", ["a0", "c1"], 0)
    with pytest.raises(PredictionError, match="so the two are no repeats"):
        read_answers([one, other], None)


def test_one_repeat_has_no_deviation() -> None:
    assert shown(Spread((0.5,))) == "0.500"
    assert shown(Spread((0.5, 0.7))) == "0.600 ± 0.141"
    assert shown(Spread((None,))) == "–"
    assert shown(None) == "–"


def test_the_csv_table_has_every_figure_and_what_failed() -> None:
    text = csv_text(["fold"], rows(done("fold 0", answers(0)), done("f, 1", None, {"f, 1": "x"})))
    sound, failed = csv.DictReader(io.StringIO(text))
    assert sound["fold"] == "fold 0"
    assert float(sound["train_loss"]) == pytest.approx(0.6)
    assert sound["validation_loss"] == ""
    low, value, high = (float(sound[f"test_accuracy{end}"]) for end in ("_low", "", "_high"))
    assert low < value < high
    assert float(sound["best_test_accuracy"]) >= value
    assert failed["failed"] == "f, 1: x"
    assert failed["test_accuracy"] == ""


def test_the_latex_table_is_whole_and_escaped() -> None:
    text = latex_text("T_1", ["fold"], rows(done("50 % & 10_um", answers(0)), done("b", None)))
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(body) == 3
    assert body[1].startswith(r"50 \% \& 10\_um & ")
    assert len(re.findall(r"(?<!\\)&", body[0])) == len(re.findall(r"(?<!\\)&", body[1])) == 6
    assert "failed" in body[2]
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1


def test_a_single_group_is_said_to_have_no_interval() -> None:
    row = rows(done("fold 0", answers(0, groups=1)))[0]
    assert row.tests["accuracy"] == Estimate(
        pytest.approx(row.spreads["accuracy"].mean), reason="one group only"
    )
    assert row.to_json()["figures"]["accuracy"]["interval"]["reason"] == "one group only"
