"""What gives the class away is said loudly, from the best source that there is."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import completeness_score, homogeneity_score

from deadlib.evaluation import assess
from deadlib.evaluation.confounding import associate, confounding


@pytest.fixture
def alarms(write):
    """alarms(frame, metadata=None): the texts."""

    def alarms(frame, metadata=None):
        section = confounding(assess(write(frame, metadata), bootstrap=100))
        return [] if section is None else [r.text for r in section.remarks if r.level == "alarm"]

    return alarms


def test_an_experiment_that_gives_the_class_away_raises_the_alarm(table, alarms):
    frame = table()
    assert not alarms(frame)
    frame["experiment"] = frame["label"].map({"dead": "monday", "living": "friday"})
    (alarm,) = alarms(frame)
    assert "Experiment and label are confounded" in alarm


def test_what_the_dataset_knows_of_confounding_is_said_again(table, alarms, metadata):
    metadata["card"]["confounding"] = [{"column": "camera", "sentence": "camera tells the label."}]
    assert alarms(table(), metadata) == ["In the dataset, camera tells the label."]


def test_a_small_test_split_does_not_overrule_the_card_of_the_whole_dataset(
    table, alarms, metadata
):
    frame = table()
    frame["experiment"] = frame["label"].map({"dead": "monday", "living": "friday"})
    assert not alarms(frame, metadata)


def test_what_the_training_dataset_knows_of_confounding_is_said_too(table, alarms, metadata):
    metadata["trained_on_confounding"] = [{"column": "plate", "sentence": "plate tells the label."}]
    assert alarms(table(), metadata) == [
        "In the dataset that the model was trained on, plate tells the label."
    ]


def counts(**values):
    """counts(N1={"CPT": 2}, ...): value -> class -> examples."""
    return values


def test_the_published_u2os_images_allow_no_honest_split():
    found = associate(
        "experiment",
        ("CPT", "DMSO"),
        counts(N1={"CPT": 2, "DMSO": 22}, N2={"CPT": 1}, N3={"CPT": 19, "DMSO": 1}),
    )
    assert found.honest_split is False
    cpt, dmso = found.pairs
    assert (cpt.commonest, cpt.images) == ("N3", 22)
    assert cpt.of_class == pytest.approx(19 / 22)
    assert cpt.known == pytest.approx(42 / 45)
    assert cpt.guessed == pytest.approx(23 / 45)
    assert dmso.commonest == "N1"


def test_the_directions_are_scikit_learns_homogeneity_and_completeness():
    table = np.random.default_rng(0).integers(0, 20, (5, 3))
    values, classes = [f"N{k}" for k in range(5)], ["a", "b", "c"]
    found = associate(
        "experiment",
        classes,
        {
            value: dict(zip(classes, row, strict=True))
            for value, row in zip(values, table.tolist(), strict=True)
        },
    )
    rows, columns = (index.ravel() for index in np.indices(table.shape))
    value, label = np.repeat(rows, table.ravel()), np.repeat(columns, table.ravel())
    assert found.label_from_column == pytest.approx(homogeneity_score(label, value))
    assert found.column_from_label == pytest.approx(completeness_score(label, value))


@pytest.mark.parametrize(
    ("by_value", "honest"),
    [
        ({"N1": {"a": 9, "b": 9}, "N2": {"a": 9, "b": 9}}, True),
        ({"N1": {"a": 9, "b": 9}, "N2": {"a": 9}}, False),
        ({f"N{k}": {"ab"[k % 2]: 9} for k in range(8)}, True),
        ({f"N{k}": {"ab"[k % 2]: 9} for k in range(6)}, False),
    ],
)
def test_a_split_is_honest_where_both_sides_hold_both_classes(by_value, honest):
    assert associate("experiment", ("a", "b"), by_value).honest_split is honest


def test_a_cell_line_within_the_class_is_no_confounder_but_an_experiment_is(table, alarms):
    classes = tuple(
        f"{line} {drug}" for line in ("A549", "HeLa", "PC3") for drug in ("CPT", "DMSO")
    )
    frame = table(classes, groups=48)
    frame = frame[frame["label"].str.endswith("CPT") | (frame.index % 6 < 3)]
    frame = frame.assign(cell_line=frame["label"].str.split().str[0])
    assert not alarms(frame)
    frame["experiment"] = frame["cell_line"]
    assert any("Experiment and label are confounded" in text for text in alarms(frame))


def test_an_experiment_of_one_class_is_warned_of_where_no_other_holds_two(table, write):
    frame = table(groups=48)
    frame["experiment"] = np.where(frame["plate"] == "plate0", "N1", "N2")
    frame = frame[(frame["experiment"] == "N1") | (frame["label"] == "dead")]
    section = confounding(assess(write(frame), bootstrap=100))
    assert any("No whole experiment can be held out fairly" in r.text for r in section.remarks)
    assert "an honest test is impossible" in section.html
