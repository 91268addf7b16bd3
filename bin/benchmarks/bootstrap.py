"""The bootstrap over groups: how fast, and how often its intervals hold the truth."""

from __future__ import annotations

from collections.abc import Iterator

import click
from common import seconds

GROUPS, ROWS, RESAMPLES = 1000, 100_000, 10_000
LOOPED = 100
SIZES = {"equal": 0.0, "very different": 1.0}
SPREAD = {"alike": 0.7, "unlike": 1.5}


@click.command()
@click.option("--resamples", default=RESAMPLES)
@click.option("--rows", default=ROWS)
@click.option("--groups", default=GROUPS)
def bootstrap(resamples: int, rows: int, groups: int) -> None:
    """10,000 resamples of 100,000 rows in 1,000 wells of 20 plates, against a plain loop.

    The loop draws the rows of the groups and calls scikit-learn, as is usual; its time for all
    resamples is reckoned from the first 100.
    """
    import numpy as np
    from sklearn import metrics as sklearn

    from deadlib.bootstrap import Nested, Resampling, Stack, estimates
    from deadlib.metrics import METRICS

    rng = np.random.default_rng(0)
    index = np.sort(rng.integers(0, groups, rows))
    index = np.unique(index, return_inverse=True)[1]
    within = Nested(index, np.arange(index.max() + 1) % 20)
    y = rng.integers(0, 2, rows)
    score = 1 / (1 + np.exp(-(2 * y - 1 + rng.normal(0, 1, groups)[index] + rng.normal(size=rows))))
    p = np.stack([1 - score, score], axis=1)
    members = np.split(np.arange(rows), np.flatnonzero(np.diff(index)) + 1)
    loops = {
        "accuracy": lambda rows: np.mean((score[rows] > 0.5) == y[rows]),
        "balanced_accuracy": lambda rows: sklearn.balanced_accuracy_score(
            y[rows], score[rows] > 0.5
        ),
        "roc_auc": lambda rows: sklearn.roc_auc_score(y[rows], score[rows]),
        "average_precision": lambda rows: sklearn.average_precision_score(y[rows], score[rows]),
        "loss": lambda rows: sklearn.log_loss(y[rows], p[rows]),
    }

    def loop(figure: str) -> float:
        def work() -> None:
            for _ in range(LOOPED):
                drawn = rng.integers(0, len(members), len(members))
                loops[figure](np.concatenate([members[group] for group in drawn]))

        return seconds(work) * resamples / LOOPED

    def drawn(names: list[str], over: object) -> float:
        statistic = Stack([METRICS[name].statistic(y, p) for name in names])
        behind = np.full(len(names), len(members))
        return seconds(lambda: estimates(statistic, over, behind, Resampling(resamples)))

    for name in loops:
        ours, plain = drawn([name], index), loop(name)
        print(
            f"{name}: {ours:.2f} s, plain loop {plain:.0f} s, {plain / ours:.0f} times", flush=True
        )
    print(f"accuracy, wells within plates: {drawn(['accuracy'], within):.2f} s")
    print(f"all {len(METRICS)} figures: {drawn(list(METRICS), index):.1f} s")


@click.command()
@click.option("--runs", default=1000, help="Simulated tables for each line.")
@click.option("--resamples", default=1000)
def coverage(runs: int, resamples: int) -> None:
    """How often a 95 % interval holds the truth, in simulated tables of known truth.

    Each group has its own chance to be right: its logit is normal around the mean, with standard
    deviation 0.7 (groups alike) or 1.5 (unlike). Groups hold 20 images each, or a log-normal number
    with median 15, sigma 1: one of ten may hold half of all images.
    """
    import numpy as np

    from deadlib.bootstrap import (
        Nested,
        Resampling,
        Sums,
        bca_interval,
        estimates,
        jackknife,
        on_groups,
    )
    from deadlib.bootstrap import bootstrap as resampled

    def ratio(sums: np.ndarray) -> np.ndarray:
        return (sums[:, 0] / sums[:, 1])[:, None]

    print("groups | sizes | truth | groups are | holds the truth | plain BCa")
    for groups, sizes, truth, spread in _cases():
        rng = np.random.default_rng([groups, int(1000 * truth)])
        mean = _logit_of(truth, SPREAD[spread])
        held = plainly = 0
        for run in range(runs):
            many = np.full(groups, 20)
            if SIZES[sizes]:
                many = np.maximum(1, np.exp(rng.normal(np.log(15), 1, groups)).round().astype(int))
            chance = 1 / (1 + np.exp(-mean - SPREAD[spread] * rng.normal(size=groups)))
            right = rng.binomial(many, chance)
            # one row for each kind of answer of each group
            columns = np.column_stack([right, many]).astype(float)
            statistic = Sums(columns, ratio)
            index = np.arange(groups)
            # as many rows as images, so that sizes count
            rows = np.repeat(index, many)
            answers = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many) < right[rows]
            full = Sums(np.column_stack([answers, np.ones(len(rows))]).astype(float), ratio)
            found = estimates(full, rows, np.array([groups]), Resampling(resamples, run))[0]
            held += found.low <= truth <= found.high
            on, _ = on_groups(statistic, index, groups)
            replicates = resampled(on, Nested(index), Resampling(resamples, run))[:, 0]
            plain = bca_interval(found.value, replicates, jackknife(on, groups, 0)[:, 0], 0.025)
            low, high = plain or (found.value, found.value)
            plainly += low <= truth <= high
        print(
            f"{groups} | {sizes} | {truth} | {spread} | {100 * held / runs:.1f} % | "
            f"{100 * plainly / runs:.1f} %",
            flush=True,
        )


def _cases() -> Iterator[tuple[int, str, float, str]]:
    for groups in (10, 30, 100):
        for sizes in SIZES:
            for truth in (0.7, 0.9, 0.98):
                for spread in SPREAD:
                    yield groups, sizes, truth, spread


def _logit_of(truth: float, spread: float) -> float:
    """The mean logit whose chance, averaged over groups, is `truth`."""
    import numpy as np
    from scipy.optimize import brentq

    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    return float(
        brentq(lambda mean: weights @ (1 / (1 + np.exp(-mean - spread * nodes))) - truth, -20, 20)
    )
