"""Man against machine on the same images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from deadlib.bootstrap import Nested, Resampling, Sums
from deadlib.errors import PredictionError
from deadlib.evaluation.evidence import on_humans
from deadlib.evaluation.humans import against_humans, two_way
from deadlib.evaluation.table import read_predictions


@pytest.fixture
def answers(tmp_path):
    """answers(frame, skill, subjects): a CSV of people who are right as often as their skill."""

    def answers(frame, skill=(0.5, 0.5), subjects=5, change=lambda rows: rows):
        rng = np.random.default_rng(0)
        rows = []
        for training, chance in zip(("before", "after"), skill, strict=True):
            shown = frame.sample(50, random_state=len(training))
            for who in range(subjects):
                for image, label in zip(shown["example_id"], shown["label"], strict=True):
                    wrong = "dead" if label == "living" else "living"
                    said = label if rng.random() < chance else wrong
                    rows.append((f"S{who}", training, image, said))
        path = tmp_path / "answers.csv"
        found = pd.DataFrame(rows, columns=["subject", "training", "image", "answer"])
        change(found).to_csv(path, index=False)
        return path

    return answers


def judged(write, frame, path):
    return against_humans(read_predictions(write(frame)), path, Resampling(500))


def test_guessing_people_are_beaten_by_a_good_model(table, write, answers):
    frame = table(separation=4.0)
    found = judged(write, frame, answers(frame))
    for trial in found.trials:
        assert trial.answers == 250
        assert trial.images == 50
        assert trial.people.low < 0.5 < trial.people.high
        assert trial.model.low > trial.people.high
        assert trial.difference.high < 0
        # all five subjects do worse: the most that five can show
        assert trial.p_over_subjects == pytest.approx(1 / 16)
        assert trial.p_over_groups < 0.001
        assert trial.p_value == trial.p_over_subjects
        assert trial.deviation == pytest.approx(np.std(list(trial.by_subject.values()), ddof=1))
    assert found.gain.low < 0 < found.gain.high
    assert found.gain_p_value > 0.1


def test_what_training_gives_is_found(table, write, answers):
    frame = table()
    found = judged(write, frame, answers(frame, skill=(0.5, 0.95), subjects=8))
    assert found.gain.low > 0.2
    assert found.gain_p_value == pytest.approx(2 / 2**8)
    assert found.smallest_p_value == found.gain_p_value
    assert found.gain_proved


def test_people_on_each_image_are_counted(table, write, answers):
    frame = table(separation=4.0)
    found = judged(write, frame, answers(frame, skill=(0.0, 0.0)))
    assert all(item.right == 0 for item in found.items)
    assert sum(item.answers for item in found.items) == 500
    # nobody was ever right
    assert found.trials[0].people.value == 0
    assert found.trials[0].people.method == "binomial"


def test_an_empty_answer_is_wrong_and_counted(table, write, answers):
    frame = table()
    some = lambda rows: rows.assign(answer=[None, *rows["answer"][1:]])  # noqa: E731
    found = judged(write, frame, answers(frame, skill=(1, 1), change=some))
    assert found.unanswered == 1
    assert found.trials[0].people.value == pytest.approx(249 / 250)


def test_images_may_be_named_by_file(table, write, answers):
    frame = table()
    names = [f"f{n:03d}" for n in range(len(frame))]
    there = frame.assign(example_id=[f"plate/{name}.tif" for name in names])
    short = lambda rows: rows.assign(image=rows["image"].str[6:])  # noqa: E731
    found = judged(write, there, answers(there, change=short))
    assert found.trials[0].images == 50


def test_one_trial_alone_has_no_gain(table, write, answers):
    frame = table()
    only = lambda rows: rows[rows["training"] == "before"]  # noqa: E731
    found = judged(write, frame, answers(frame, change=only))
    assert [trial.training for trial in found.trials] == ["before"]
    assert found.gain is None
    assert found.to_json()["training"] is None


def test_images_of_one_group_are_told(table, write, answers):
    frame = table()
    path = answers(frame)
    assert not any("of one group" in sentence for sentence in on_humans(judged(write, frame, path)))
    frame["group"] = "a"
    assert any("of one group" in sentence for sentence in on_humans(judged(write, frame, path)))


def test_a_single_subject_is_judged_over_images(table, write, answers):
    frame = table()
    found = judged(write, frame, answers(frame, subjects=1))
    assert found.trials[0].p_over_subjects is None
    assert found.trials[0].people.low is not None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r.rename(columns={"answer": "anwser"}), "did you mean anwser"),
        (lambda r: r.assign(training="later"), "row 1: training 'later'"),
        (lambda r: r.assign(answer="deda"), "row 1: answer 'deda'; did you mean dead"),
        (lambda r: r.assign(image="nowhere"), "row 1: image nowhere is not among"),
        (lambda r: r.assign(image="field0"), "row 1: image field0 stands for 24"),
        (lambda r: pd.concat([r, r.iloc[:1]]), "row 501: S0 answered .* twice before"),
        (lambda r: r.assign(subject=None), "subject is empty"),
        (lambda r: r.iloc[:0], "no rows"),
    ],
)
def test_answers_that_cannot_be_used_are_refused(table, write, answers, change, says):
    frame = table()
    with pytest.raises(PredictionError, match=says):
        judged(write, frame, answers(frame, change=change))


def mean(values):
    columns = np.column_stack([values, np.ones(len(values))])
    return Sums(columns, lambda sums: (sums[:, 0] / sums[:, 1])[:, None])


def test_an_interval_over_one_kind_of_groups_is_that_of_a_t_test():
    values = np.random.default_rng(0).normal(size=12)
    found = two_way(mean(values), [Nested(np.arange(12))], Resampling(50_000))
    reference = stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.02)


def test_an_interval_over_people_and_images_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    subject, image = (grid.ravel() for grid in np.mgrid[:6, :20])
    cell, held = np.arange(120), 0
    for seed in range(200):
        values = rng.normal(0, 0.5, 6)[subject] + rng.normal(0, 0.7, 20)[image]
        values += rng.normal(0, 1, 120)
        clusters = [Nested(index) for index in (subject, image, cell)]
        found = two_way(mean(values), clusters, Resampling(200, seed))
        held += found.low <= 0 <= found.high
    assert 0.9 <= held / 200 <= 0.995
