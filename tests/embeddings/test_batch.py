"""The batch effect: found where it is, absent where it is not, never explained by layout."""

from __future__ import annotations

import numpy as np
import pytest
from embedded_screen import screen
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import silhouette_samples

from deadlib.bootstrap import Resampling
from deadlib.embeddings.batch import (
    answer,
    difference,
    folds,
    permuted,
    questions,
    silhouettes,
    was_taught,
)
from deadlib.embeddings.wells import read_wells
from deadlib.retrieval import directions

QUICK = Resampling(resamples=100)


def asked(wells, key, permutations=50):
    question = next(q for q in questions(wells, 0) if q.key == key)
    return answer(wells, question, permutations=permutations, resampling=QUICK)


def figures(found):
    return {name: measured.estimate.value for name, measured in found.measured.items()}


def test_a_strong_plate_effect_is_read_from_controls_and_chance_is_a_third(write):
    wells = read_wells(write(plate_shift=3.0))
    found = asked(wells, "plate_controls")
    assert found.measured["probe"].estimate.value > 0.95
    assert found.measured["neighbours"].estimate.value > 0.95
    assert found.measured["silhouette"].estimate.value > 0.3
    for name in ("probe", "neighbours"):
        assert found.measured[name].chance == pytest.approx(1 / 3, abs=0.08)
        assert found.measured[name].p < 0.05


def test_without_a_plate_effect_plate_is_read_by_chance_alone(write):
    ps = []
    for seed in range(6):
        wells = read_wells(write(name=f"{seed}.parquet", plate_shift=0.0, seed=seed))
        ps.append(asked(wells, "plate").measured["probe"].p)
    assert min(ps) > 0.02
    assert np.mean(ps) > 0.2


def test_a_layout_that_differs_between_plates_is_no_plate_effect(write):
    frame = screen(plates=2, wells=36, class_shift=4.0)
    # plate 1 has mostly one class, plate 2 mostly the other: class alone tells the plate
    number = frame["well"].str[1:].astype(int)
    keep = np.where(
        frame["plate"] == "P1",
        (frame["label"] == "healthy") | (number <= 2),
        (frame["label"] != "healthy") | (number <= 2),
    )
    found = asked(read_wells(write(frame[keep])), "plate", permutations=200)
    probe = found.measured["probe"]
    assert probe.chance > 0.6, "chance knows the layout"
    assert probe.p > 0.02


def test_class_is_read_worse_on_a_new_plate_where_plates_differ(write):
    wells = read_wells(write(plates=3, wells=48, plate_shift=6.0, class_shift=1.0, seed=4))
    known, new = (figures(asked(wells, key))["neighbours"] for key in ("class_seen", "class_new"))
    assert known > new + 0.1


def test_a_class_is_asked_of_wells_and_plates_that_did_not_teach_the_network(write):
    """Training wells lie by their class as the network was told it, the new plate's by chance."""
    frame = screen(plates=3, wells=30, class_shift=0.0)
    told = np.eye(12)[frame["label"].map({"healthy": 0, "apoptosis": 1, "ferroptosis": 2})] * 9
    vectors = np.stack(frame["embedding"]) + np.where((frame["split"] == "train"), told.T, 0).T
    frame["embedding"] = list(vectors.astype(np.float32))
    wells = read_wells(write(frame))
    for key in ("class_new", "class_seen"):
        found = asked(wells, key)
        tested = found.question.fold >= 0
        assert set(wells.batch[found.question.wells[tested]]) == {"P3"}
        assert found.measured["probe"].estimate.value < 0.6
        assert not was_taught(wells, found.question)
    # P1 and P2 teach each about the other where no plate is new
    both = read_wells(write(frame[frame["plate"] != "P3"], name="taught.parquet"))
    new = next(question for question in questions(both, 0) if question.key == "class_new")
    assert (new.fold >= 0).all()
    assert was_taught(both, new)


def test_rows_of_a_well_never_stand_on_both_sides(write):
    wells = read_wells(write())
    for question in questions(wells, 0):
        places = wells.place[question.wells]
        for place in np.unique(places):
            assert len(np.unique(question.fold[places == place])) == 1


def test_each_question_is_asked_where_it_can_be(write):
    keys = [question.key for question in questions(read_wells(write()), 0)]
    assert keys == [
        "plate", "plate_controls", "plate_apoptosis", "plate_ferroptosis",
        "class_seen", "class_new", "class_split",
    ]  # fmt: skip
    one = read_wells(write(plates=1))
    assert [question.key for question in questions(one, 0)] == ["class_seen"]


@given(st.integers(0, 5), st.integers(2, 40), st.integers(1, 4))
def test_folds_spread_every_stratum_evenly(seed, count, strata):
    rng = np.random.default_rng(seed)
    stratum = np.sort(rng.integers(0, strata, count))
    found = folds(np.arange(count), stratum, seed)
    for one in np.unique(stratum):
        sizes = np.bincount(found[stratum == one], minlength=5)
        assert sizes.max() - sizes.min() <= 1


@given(st.integers(0, 3))
def test_permuted_targets_keep_the_counts_of_each_stratum(seed):
    rng = np.random.default_rng(seed)
    target, strata = rng.integers(0, 3, 40), rng.integers(0, 2, 40)
    for one in permuted(target, strata, 5, seed):
        for stratum in (0, 1):
            assert (
                np.bincount(one[strata == stratum], minlength=3)
                == np.bincount(target[strata == stratum], minlength=3)
            ).all()


def test_silhouettes_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    vectors = directions(rng.normal(size=(40, 5)) + 0.5)
    targets = np.stack([rng.integers(0, 4, 40) for _ in range(3)])
    targets[0, targets[0] == 3] = 0
    targets[0, 0] = 3  # alone in its class
    found = silhouettes(vectors, targets, 4)
    for one, ours in zip(targets, found, strict=True):
        np.testing.assert_allclose(
            ours, silhouette_samples(vectors, one, metric="cosine"), atol=1e-5
        )


def test_the_difference_of_two_tables_is_paired_over_wells(write):
    strong = read_wells(write(name="a.parquet", plate_shift=3.0))
    none = read_wells(write(name="b.parquet", plate_shift=0.0))
    one, other = asked(strong, "plate"), asked(none, "plate")
    found = difference(one, other, "probe", (strong, none), QUICK)
    expected = figures(one)["probe"] - figures(other)["probe"]
    assert found.value == pytest.approx(expected)
    assert found.low > 0
    same = difference(one, one, "probe", (strong, strong), QUICK)
    assert same.value == 0
