"""Two models on the same examples: the difference, how sure, and what cannot be compared."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from deadlib.bootstrap import Resampling, Stack, on_groups
from deadlib.errors import PredictionError
from deadlib.evaluation.comparison import Paired, compare
from deadlib.evaluation.permutation import sign_flips
from deadlib.evaluation.table import read_predictions
from deadlib.metrics import METRICS


def compared(write, this, other, **options):
    found = read_predictions(write(this))
    return compare(found, write(other, name="other.parquet"), Resampling(300, **options))


def test_a_clearly_better_model_is_found_better(table, write):
    found = compared(write, table(separation=4.0), table(separation=0.2, seed=1))
    accuracy = found.differences["accuracy"]
    assert accuracy.difference.value == pytest.approx(accuracy.this - accuracy.other)
    assert accuracy.difference.low > 0
    assert accuracy.p_value < 0.01
    assert found.differences["loss"].difference.high < 0
    assert sum(found.answers.values()) == found.units


def test_the_order_of_rows_and_of_classes_does_not_matter(table, write):
    this, other = table(), table(separation=1.0, seed=3)
    shuffled = other.sample(frac=1, random_state=0)
    columns = [*shuffled.columns[:-2], "probability_dead", "probability_living"]
    found = compared(write, this, other).to_json()
    assert found == compared(write, this, shuffled[columns]).to_json()


def test_a_model_does_not_differ_from_itself(table, write):
    found = compared(write, table(), table()).differences["accuracy"]
    assert found.difference.value == 0
    assert found.p_value == 1
    assert found.difference.low is None


def test_few_groups_are_exchanged_in_every_way_as_scipy_does():
    rng = np.random.default_rng(0)
    gain = rng.normal(0.4, 0.6, 8)
    found = sign_flips(8, Resampling()).p_value(lambda swaps: (1 - 2 * swaps) @ gain[:, None])
    reference = stats.permutation_test(
        (gain, np.zeros(8)), lambda a, b: np.sum(a - b), permutation_type="samples", n_resamples=1e6
    )
    assert found == pytest.approx(reference.pvalue)


def test_few_groups_cannot_give_a_small_p_value():
    assert sign_flips(4, Resampling()).smallest == pytest.approx(1 / 8)
    assert sign_flips(4, Resampling()).p_value(lambda swaps: (1 - 2 * swaps) @ np.ones((4, 1))) == (
        1 / 8
    )


def test_equal_models_are_called_different_about_as_often_as_the_level_says():
    rng = np.random.default_rng(0)
    p_values = []
    for seed in range(200):
        gain = rng.standard_t(3, 15)
        flips = sign_flips(15, Resampling(seed=seed))
        p_values.append(flips.p_value(lambda swaps, gain=gain: (1 - 2 * swaps) @ gain[:, None]))
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.1


def test_exchanging_a_group_exchanges_its_answers_for_every_metric():
    rng = np.random.default_rng(0)
    y, index = rng.integers(0, 2, 40), np.repeat(np.arange(8), 5)
    one, two = rng.dirichlet([1, 1], 40), rng.dirichlet([1, 1], 40)
    swap = np.array([1.0, 0, 0, 1, 0, 1, 0, 0])
    taken = swap[index][:, None] == 1
    for metric in METRICS.values():
        found = Paired(metric, y, one, two).swapped(index, 8)[0](swap[None])[0, 0]
        left, right = np.where(taken, two, one), np.where(taken, one, two)
        assert found == pytest.approx(metric.function(y, left) - metric.function(y, right))
    paired = Stack([Paired(metric, y, one, two) for metric in METRICS.values()])
    weights = rng.integers(0, 3, (4, 8)).astype(float)
    np.testing.assert_allclose(
        on_groups(paired, index, 8)[0](weights), paired(weights[:, index]), atol=1e-12
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.iloc[5:], "5 labelled examples of .*predict the same dataset and split"),
        (lambda f: f.drop(columns="example_id"), "matches examples by the column example_id"),
        (lambda f: f.assign(example_id=[None, *f["example_id"][1:]]), "has gaps"),
        (lambda f: f.iloc[[0, *range(len(f))]], "more than once"),
        (lambda f: f.assign(label=np.roll(f["label"], 1)), "is labelled living, and dead in"),
        (
            lambda f: f.replace("dead", "gone").rename(
                columns={"probability_dead": "probability_gone"}
            ),
            "classes are living, gone",
        ),
        (lambda f: f.assign(split="train"), "no rows of split test"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_advice(table, write, change, says):
    with pytest.raises(PredictionError, match=says):
        compared(write, table(groups=23), change(table(groups=23)))


def test_a_table_without_splits_may_be_compared(table, write):
    found = compared(write, table(), table().drop(columns="split"))
    assert found.units == len(table())
