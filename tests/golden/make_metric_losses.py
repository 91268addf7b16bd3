"""Makes metric_losses.npz with pytorch-metric-learning: values and gradients of its losses.

    python tests/golden/make_metric_losses.py     # in an environment with pytorch-metric-learning

The miner is not part of that library: its triplets are written out here in loops, from the
description in CellDeathPred's code, and handed to the library's SupConLoss.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import ProxyAnchorLoss, SupConLoss, TripletMarginLoss
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

RNG = np.random.default_rng(0)
EXAMPLES, SIZE, CLASSES, PLATES = 42, 16, 3, 3


def value_and_gradient(loss, embeddings, labels, pairs=None):
    given = torch.tensor(embeddings, requires_grad=True)
    value = loss(given, torch.tensor(labels), pairs)
    value.backward()
    return value.item(), given.grad.numpy()


def pairs_across_plates(labels, plates):
    positive, negative = [], []
    for a in range(len(labels)):
        for b in range(len(labels)):
            if labels[a] == labels[b] and plates[a] != plates[b]:
                positive.append((a, b))
            if labels[a] != labels[b] and plates[a] == plates[b]:
                negative.append((a, b))
    return tuple(
        torch.tensor(side) for pairs in (positive, negative) for side in zip(*pairs, strict=True)
    )


def mined_triplets(embeddings, labels, plates):
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    first, second = np.unique(plates)[:2]
    kept = []
    for label in np.unique(labels):
        anchors = np.flatnonzero((plates == first) & (labels == label))
        positives = np.flatnonzero((plates == second) & (labels == label))
        for other in np.unique(labels):
            if other == label:
                continue
            negatives = np.flatnonzero((plates == first) & (labels == other))
            for a, p, n in zip(anchors, positives, negatives, strict=False):
                if np.linalg.norm(unit[a] - unit[n]) - np.linalg.norm(unit[a] - unit[p]) <= 0:
                    kept.append((a, p, n))
    return tuple(torch.tensor(side) for side in zip(*kept, strict=True))


def main() -> None:
    labels = RNG.integers(0, CLASSES, EXAMPLES)
    plates = RNG.integers(3, 3 + PLATES, EXAMPLES)
    labels[0] = CLASSES  # without a positive
    centres = RNG.normal(size=(CLASSES + 1, SIZE))
    embeddings = (0.5 * centres[labels] + RNG.normal(size=(EXAMPLES, SIZE))).astype(np.float32)
    found = {"class_index": labels, "plate_index": plates, "embeddings": embeddings}

    def keep(name, loss, pairs=None):
        found[name], found[f"{name}_gradient"] = value_and_gradient(loss, embeddings, labels, pairs)

    across, mined = pairs_across_plates(labels, plates), mined_triplets(embeddings, labels, plates)
    for temperature in (0.02, 0.1, 0.5):
        keep(f"supcon_{temperature}", SupConLoss(temperature))
    keep("supcon_across_plates", SupConLoss(0.1), across)
    keep("supcon_mined", SupConLoss(0.1), mined)
    for margin in (0.05, 0.5):
        keep(f"triplet_{margin}", TripletMarginLoss(margin))
    keep("triplet_mined", TripletMarginLoss(0.05), mined)
    proxies = ProxyAnchorLoss(CLASSES + 2, SIZE, margin=0.1, alpha=32)
    found["proxies"] = proxies.proxies.detach().numpy().copy()
    keep("proxy_anchor", proxies)
    found["proxies_gradient"] = proxies.proxies.grad.numpy()

    accuracies = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"),
        k="max_bin_count",
        knn_func=CustomKNN(CosineSimilarity()),
    )
    unit = torch.nn.functional.normalize(torch.tensor(embeddings))
    for name, value in accuracies.get_accuracy(unit, torch.tensor(labels)).items():
        found[name] = value
    np.savez(Path(__file__).with_name("metric_losses.npz"), **found)


if __name__ == "__main__":
    main()
