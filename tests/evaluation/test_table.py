"""A table is refused with the place and the remedy, or read as it is meant."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deadlib.errors import PredictionError
from deadlib.evaluation.table import read_predictions


def refused(path, **options):
    with pytest.raises(PredictionError) as caught:
        read_predictions(path, **options)
    return str(caught.value)


def test_a_table_is_read_in_the_order_of_its_probability_columns(table, write):
    found = read_predictions(write(table()))
    assert found.classes == ("living", "dead")
    assert found.group_column == "group"
    assert found.groups == 24
    assert found.split == "test"
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_the_class_order_of_the_run_goes_before_that_of_the_columns(table, write):
    path = write(table(), {"classes": ["dead", "living"]})
    assert read_predictions(path).classes == ("dead", "living")


def test_csv_and_parquet_say_the_same(table, write):
    frame = table()
    parquet = read_predictions(write(frame))
    csv = read_predictions(write(frame, name="predictions.csv"))
    np.testing.assert_allclose(parquet.probabilities, csv.probabilities)
    np.testing.assert_array_equal(parquet.class_index, csv.class_index)
    np.testing.assert_array_equal(parquet.group_index, csv.group_index)


def test_whole_number_labels_match_their_columns_even_beside_missing_ones(write, table):
    frame = table(("0", "1"))
    frame["label"] = frame["label"].astype(float)
    frame.loc[0, "label"] = np.nan
    found = read_predictions(write(frame, name="predictions.csv"))
    assert found.classes == ("0", "1")
    assert found.unlabelled == 1


def test_a_class_may_be_named_none_or_null(table, write):
    frame = table(("None", "null"))
    found = read_predictions(write(frame, name="predictions.csv"))
    assert found.classes == ("None", "null")
    assert found.unlabelled == 0


@pytest.mark.parametrize("absent", ["", "NA", "NaN", "nan", "#N/A"])
def test_an_absent_label_of_a_csv_is_none(table, write, absent):
    frame = table()
    frame.loc[0, "label"] = absent
    assert read_predictions(write(frame, name="predictions.csv")).unlabelled == 1


def test_only_the_columns_of_the_classes_that_the_run_knows_are_theirs(table, write):
    frame = table().assign(probability_of_debris=7.0)
    found = read_predictions(write(frame, {"classes": ["dead", "living"]}))
    assert found.classes == ("dead", "living")


def test_only_test_is_evaluated_where_several_splits_stand(table, write):
    frame = table()
    frame.loc[:9, "split"] = "validation"
    found = read_predictions(write(frame))
    assert len(found.frame) == len(frame) - 10
    assert found.other_splits == {"validation": 10}
    assert "validation (10)" in " ".join(found.warnings)
    assert read_predictions(write(frame), split="validation").split == "validation"


def test_images_that_taught_the_model_count_in_their_own_split_alone(table, write, metadata):
    metadata |= {"seen_in_training": 10, "seen_in_training_by_split": {"validation": 10}}
    frame = table()
    frame.loc[:9, "split"] = "validation"
    path = write(frame, metadata)
    assert read_predictions(path).metadata["seen_in_training"] == 0
    assert read_predictions(path, split="validation").metadata["seen_in_training"] == 10


def test_a_split_that_is_not_there_is_refused_with_those_that_are(table, write):
    assert "found test" in refused(write(table()), split="validation")
    frame = table()
    frame["split"] = np.where(np.arange(len(frame)) % 2, "train", "validation")
    assert "choose one with --split" in refused(write(frame))


def test_training_images_are_called_what_they_are(table, write):
    found = read_predictions(write(table().assign(split="train")))
    assert "trained on" in " ".join(found.warnings)


def test_unlabelled_rows_are_left_out_and_counted(table, write):
    frame = table()
    frame.loc[[2, 5], "label"] = None
    found = read_predictions(write(frame))
    assert found.unlabelled == 2
    assert len(found.class_index) == len(frame) - 2
    assert "2 of 144" in " ".join(found.warnings)


def test_a_table_without_any_label_is_refused(table, write):
    assert "fill the column label" in refused(write(table().assign(label=None)))


def test_a_label_without_column_is_refused_with_row_and_nearest_name(table, write):
    frame = table()
    frame.loc[4, "label"] = "deda"
    message = refused(write(frame))
    assert "row 5" in message
    assert "did you mean dead?" in message


@pytest.mark.parametrize(
    ("value", "says"),
    [(np.nan, "nan"), (np.inf, "inf"), (-0.2, "-0.2"), (1.7, "1.7"), (3.1e5, "310000")],
)
def test_what_is_no_probability_is_refused_with_row_and_column(table, write, value, says):
    frame = table()
    frame.loc[6, "probability_dead"] = value
    message = refused(write(frame))
    assert "row 7, column probability_dead" in message
    assert f"found {says}" in message


def test_probabilities_that_do_not_sum_to_one_are_refused(table, write):
    frame = table()
    frame.loc[3, ["probability_living", "probability_dead"]] = [0.3, 0.3]
    message = refused(write(frame))
    assert "row 4" in message
    assert "sum to 0.6" in message


def test_rounded_probabilities_are_accepted(table, write):
    frame = table(("a", "b", "c"))
    columns = ["probability_a", "probability_b", "probability_c"]
    frame[columns] = frame[columns].round(3)
    found = read_predictions(write(frame))
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.rename(columns={"label": "lable"}), "did you mean lable?"),
        (lambda f: f.drop(columns="probability_dead"), "at least two classes"),
        (lambda f: f.iloc[:0], "no rows"),
    ],
)
def test_a_table_that_lacks_what_is_needed_is_refused(table, write, change, says):
    assert says in refused(write(change(table())))


def test_files_that_are_no_tables_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "absent.parquet")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 cut short")
    assert "cannot be read as a table" in refused(broken)
    (tmp_path / "notes.txt").write_text("label")
    assert "expected a name in .parquet or .csv" in refused(tmp_path / "notes.txt")


def test_without_groups_every_row_stands_alone_and_a_warning_says_so(table, write):
    found = read_predictions(write(table().drop(columns=["group", "example_id"])))
    assert found.group_column is None
    assert found.groups == len(found.frame)
    assert "--group-by" in " ".join(found.warnings)


def test_images_are_the_groups_where_there_is_no_group_column(table, write):
    frame = table().rename(columns={"group": "source_id"})
    assert read_predictions(write(frame)).group_column == "source_id"


def test_rows_of_a_well_are_no_independent_rows_where_nothing_else_groups_them(table, write):
    frame = table().drop(columns="group").assign(plate="P1")
    frame["well"] = [f"A{row // 3:02d}" for row in range(len(frame))]
    found = read_predictions(write(frame))
    assert (found.group_column, found.groups) == ("well", -(-len(frame) // 3))
    assert "--group-by" not in " ".join(found.warnings)


def test_group_by_names_another_column(table, write):
    found = read_predictions(write(table()), group_by="plate")
    assert (found.group_column, found.groups) == ("plate", 2)
    assert "did you mean plate?" in refused(write(table()), group_by="plates")


def test_wells_of_the_same_name_on_two_plates_are_two_groups(table, write):
    frame = table().assign(well="B03")
    found = read_predictions(write(frame), group_by="well")
    assert (found.group_column, found.groups) == ("well", 2)
    frame.loc[[0, 1], "well"] = None
    found = read_predictions(write(frame), group_by="well")
    assert found.groups == 2 + 2
    assert "2 examples have no well" in " ".join(found.warnings)


def test_a_column_named_example_can_be_the_group(table, write):
    frame = table().drop(columns="example_id").assign(example=lambda f: f["plate"])
    assert read_predictions(write(frame), group_by="example").groups == 2


def test_examples_without_group_count_alone(table, write):
    frame = table(groups=4)
    frame.loc[[0, 1], "group"] = None
    found = read_predictions(write(frame))
    assert found.groups == 4 + 2
    assert "2 examples have no group" in " ".join(found.warnings)


def test_few_groups_are_warned_of(table, write):
    assert "Only 6 independent groups" in " ".join(
        read_predictions(write(table(groups=6))).warnings
    )
    assert not read_predictions(write(table(groups=10))).warnings


def test_a_missing_probability_is_refused_with_advice(table, write):
    frame = table()
    frame.loc[6, "probability_dead"] = np.nan
    assert "predict this image again" in refused(write(frame))


def test_a_class_of_the_model_without_column_is_refused(table, write):
    path = write(table(), {"classes": ["dead", "living", "debris"]})
    assert "no column probability_debris" in refused(path)


def test_an_image_with_two_labels_is_refused(table, write):
    frame = table()
    frame.loc[1, ["example_id", "label"]] = [frame.loc[0, "example_id"], "dead"]
    frame.loc[0, "label"] = "living"
    message = refused(write(frame))
    assert "well0/field0" in message
    assert "dead, living" in message


def test_an_image_that_stands_twice_is_one_observation(table, write):
    frame = table().drop(columns=["group", "plate"])
    twice = pd.concat([frame, frame.iloc[:5]])
    found = read_predictions(write(twice))
    assert found.groups == len(frame)
    assert "5 rows are copies" in " ".join(found.warnings)


def test_a_class_without_images_is_told(table, write):
    frame = table(("a", "b", "c"))
    found = read_predictions(write(frame[frame["label"] != "c"]))
    assert "No example of c" in " ".join(found.warnings)


def test_a_single_group_is_told(table, write):
    warnings = " ".join(read_predictions(write(table().assign(group="w"))).warnings)
    assert "one group" in warnings
    assert "Only" not in warnings


def test_groups_of_very_different_size_are_told_with_what_they_count_for(table, write):
    frame = table(groups=24)
    frame.loc[frame.index[:100], "group"] = "huge"
    told = " ".join(read_predictions(write(frame)).warnings)
    assert "69 % of the examples" in told


def test_calls_of_another_program_are_evaluated_under_their_own_names(write):
    frame = pd.DataFrame({"truth": ["a", "b", None, "b"], "call": ["a", "a", "b", "b"]})
    columns = {"label": "truth", "predicted": "call"}
    found = read_predictions(write(frame, name="theirs.csv"), columns=columns)
    assert found.calls_only
    assert found.classes == ("a", "b")
    assert found.predicted_index.tolist() == [0, 0, 1]
    assert list(found.metrics) == ["accuracy", "balanced_accuracy", "macro_f1"]
    assert any("ROC AUC" in warning and "left out" in warning for warning in found.warnings)


def test_answers_that_are_not_the_most_probable_class_are_told_and_can_be_asked_for(write):
    frame = pd.DataFrame(
        {
            "label": ["dead", "living"],
            "predicted": ["dead", "living"],
            "probability_dead": [0.4, 0.1],
            "probability_living": [0.6, 0.9],
        }
    )
    found = read_predictions(write(frame))
    assert found.predicted_index.tolist() == [1, 1]
    assert any(w.startswith("1 answers in the column predicted") for w in found.warnings)
    found = read_predictions(write(frame), calls=True)
    assert [found.classes[k] for k in found.predicted_index] == ["dead", "living"]


def test_a_call_that_is_missing_is_named(write):
    frame = pd.DataFrame({"label": ["a", "b"], "predicted": ["a", None]})
    with pytest.raises(PredictionError, match="row 2, column predicted: found no call"):
        read_predictions(write(frame))
