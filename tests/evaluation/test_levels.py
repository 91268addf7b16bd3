"""Experiments hold plates, plates hold wells: what each adds to the uncertainty."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deadlib.bootstrap import Resampling
from deadlib.errors import PredictionError
from deadlib.evaluation.levels import measure_levels, nested_levels, shares_of_uncertainty
from deadlib.evaluation.table import read_predictions


@pytest.fixture
def nested(write):
    """nested(spread): a table of 6 experiments, 2 plates each, 4 wells each, 8 images each.

    spread: by how much the chance to be right varies between experiments, plates, wells.
    """

    def nested(experiment=0.0, plate=0.0, well=0.0, experiments=6, **columns):
        rng = np.random.default_rng(0)
        sizes = {"experiment": experiments, "plate": 2, "well": 4, "image": 8}
        grid = pd.MultiIndex.from_product([range(n) for n in sizes.values()], names=list(sizes))
        frame = grid.to_frame(index=False)
        chance = np.full(len(frame), 0.75)
        for names, spread in (
            (["experiment"], experiment),
            (["experiment", "plate"], plate),
            (["experiment", "plate", "well"], well),
        ):
            of = frame.groupby(names).ngroup().to_numpy()
            # siblings differ, and their means do not
            chance += spread * np.where(of % 2, 1, -1)
        right = rng.random(len(frame)) < chance
        label = np.where(rng.random(len(frame)) < 0.5, "dead", "living")
        dead = (label == "dead") == right
        frame = frame.assign(label=label, example_id=[f"e{i}" for i in range(len(frame))])
        frame["probability_dead"] = np.where(dead, 0.8, 0.2)
        frame["probability_living"] = 1 - frame["probability_dead"]
        frame["group"] = [f"{e}/{p}/{w}" for e, p, w in grid.droplevel("image")]
        return read_predictions(write(frame.assign(**columns)))

    return nested


def test_each_level_lies_within_the_one_before(nested):
    found = nested_levels(nested(), [])
    assert {name: index.max() + 1 for name, index in found.items()} == {
        "experiment": 6,
        "plate": 12,
        "well": 48,
        "image": 384,
    }
    # plates are numbered anew in each experiment, and still are twelve


def test_a_level_that_divides_nothing_further_joins_the_one_before(nested):
    table = nested()
    table.frame["plate"] = "the only one"
    assert list(nested_levels(table, [])) == ["experiment = plate", "well", "image"]


@pytest.mark.parametrize("level", ["experiment", "plate", "well"])
def test_the_level_that_differs_brings_the_uncertainty(nested, level):
    tiers = measure_levels(nested(**{level: 0.2}), [], Resampling(500))
    shares = {tier.name: tier.share for tier in tiers}
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.get) == level
    widths = {t.name: t.metrics["accuracy"].high - t.metrics["accuracy"].low for t in tiers}
    finer = list(widths)[list(widths).index(level) + 1]
    assert widths[level] > 1.5 * widths[finer]


def test_the_variance_over_images_is_the_binomial_one(nested):
    tiers = measure_levels(nested(), ["experiment"], Resampling(4000))
    assert [tier.name for tier in tiers] == ["experiment", "image"]
    accuracy = tiers[-1].metrics["accuracy"]
    rate = accuracy.value
    half = 1.96 * np.sqrt(rate * (1 - rate) / 384)
    assert accuracy.high - accuracy.low == pytest.approx(2 * half, rel=0.1)


def test_one_experiment_tells_nothing_of_others(nested):
    tiers = measure_levels(nested(experiments=1), [], Resampling(200))
    assert [tier.name for tier in tiers] == ["plate", "well", "image"]


def test_a_table_without_levels_has_none(table, write):
    found = read_predictions(write(table().drop(columns="plate")))
    assert measure_levels(found, [], Resampling(200)) == []


def test_a_level_that_is_not_there_is_refused(nested):
    with pytest.raises(PredictionError, match="no column dish, asked for as a level"):
        measure_levels(nested(), ["dish", "well"], Resampling(200))


def test_shares_count_no_level_less_than_nothing():
    assert shares_of_uncertainty([4.0, 5.0, 1.0]) == [0, 0.8, 0.2]
    assert shares_of_uncertainty([None, 1.0]) == [None, None]
    assert shares_of_uncertainty([0.0, 0.0]) == [None, None]
