"""How much of a dataset brightness and contrast alone give away."""

from __future__ import annotations

import click


@click.command()
@click.argument("dataset")
@click.option("--group-by", default="position", help="the column that a fold holds or lacks whole")
@click.option("--folds", default=8)
def intensity(dataset: str, group_by: str, folds: int) -> None:
    """Nearest mean on mean and standard deviation of each example, groups left out in turn."""
    import numpy as np
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.neighbors import NearestCentroid
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from tfrecords_tools.dataset import open_dataset

    opened = open_dataset(dataset)
    labels = opened.manifest["label"].to_numpy()
    groups = opened.manifest[group_by].to_numpy()
    images = (opened.read_example(row).astype(float) for row in range(len(labels)))
    statistics = np.array([[image.mean(), image.std()] for image in images])
    answers = cross_val_predict(
        make_pipeline(StandardScaler(), NearestCentroid(priors="uniform")),
        statistics,
        labels,
        groups=groups,
        cv=StratifiedGroupKFold(folds, shuffle=True, random_state=0),
    )
    print(
        f"{balanced_accuracy_score(labels, answers):.3f} balanced accuracy of the nearest mean of "
        f"mean and deviation; {len(labels)} examples of {len(set(groups))} groups ({group_by})"
    )
