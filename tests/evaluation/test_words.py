"""The verdict: three sentences that a biologist understands."""

from __future__ import annotations

from deadlib.evaluation import assess, compose
from deadlib.evaluation.words import details, verdict
from deadlib.pages import Remark


def test_the_first_sentence_says_how_many_of_a_hundred(table, write):
    found = verdict(assess(write(table(separation=60.0, groups=30)), bootstrap=100), [])
    assert found["How good?"] == (
        "Of 100 unseen images 100 are called right; always answering living, the commonest class, "
        "would get 50 right."
    )
    assert found["How sure?"] == (
        "Judged by these 30 independent groups, the true figure for others like them likely lies "
        "between 88 and 100 "
        "(95\u00a0% interval)."
    )


def test_a_useless_model_is_called_so(table, write):
    found = verdict(assess(write(table(separation=0.0)), bootstrap=200), [])
    assert "cannot be told from guessing" in found["How sure?"]


def test_few_groups_are_said_to_be_few(table, write):
    found = verdict(assess(write(table(groups=4, separation=60.0)), bootstrap=100), [])
    assert "4 are few" in found["How sure?"]


def test_one_group_says_nothing_of_others(table, write):
    found = verdict(assess(write(table(groups=1)), bootstrap=100), [])
    assert "there is no interval (one group only)" in found["How sure?"]


def test_an_alarm_makes_the_figures_worth_nothing(table, write):
    evaluation = assess(write(table()), bootstrap=100)
    remarks = [Remark("a", "alarm"), Remark("b", "alarm"), Remark("c", "warning")]
    assert verdict(evaluation, remarks)["Can it be trusted?"].startswith("No: 2 things speak")
    assert verdict(evaluation, remarks[2:])["Can it be trusted?"].startswith("With care")
    assert verdict(evaluation, [Remark("n")])["Can it be trusted?"].startswith("Nothing that was")


def test_images_that_were_learnt_from_are_not_called_unseen(table, write, metadata):
    metadata["seen_in_training"] = 12
    report = compose(assess(write(table(), metadata), bootstrap=100))
    assert "unseen" not in report.verdict["How good?"]
    assert any("12 of the predicted images" in remark.text for _, remark in report.remarks)


def test_the_classes_are_gone_through_one_by_one(table, write):
    words = " ".join(details(assess(write(table(separation=60.0)), bootstrap=100)))
    assert "Of 100 images of dead 100 are found; of 100 called dead 100 are." in words
