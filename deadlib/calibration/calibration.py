"""What `deadlib-calibrate` leaves in a run: calibration.json, to be read, and calibration.npz."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadlib.calibration.conformal import fewest_groups, least_probabilities
from deadlib.calibration.neighbours import Neighbours
from deadlib.calibration.temperature import fit_temperature, group_weights, softmax
from deadlib.errors import RunError
from deadlib.outputs import written_whole

Floats = NDArray[np.float64]

JSON, ARRAYS = "calibration.json", "calibration.npz"
FILES = (JSON, ARRAYS)
"""In this order they are deleted: without its JSON there is no calibration."""


@dataclass(frozen=True)
class Calibration:
    """How a run's answers are made to keep their word.

    temperature: what logits are divided by; coverage: how often the true class is to be in the set;
    least (K,): the least probability at which each class is in it; per: the metadata column whose
    values have thresholds of their own, in least_of; about: how all this came about, plain JSON.
    """

    classes: tuple[str, ...]
    temperature: float
    coverage: float
    least: Floats
    neighbours: Neighbours
    per: str | None = None
    least_of: Mapping[str, Floats] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def probabilities(self, logits: np.ndarray) -> Floats:
        """Calibrated probabilities (N, K) of the network's logits (N, K)."""
        return softmax(np.asarray(logits, np.float64) / self.temperature)

    def prediction_sets(
        self, probabilities: np.ndarray, values: Sequence[Any] | None = None
    ) -> NDArray[np.bool_]:
        """Which classes (N, K) the truth may be, of calibrated probabilities (N, K).

        values (N,): of the column `per`; None, and a value without thresholds, take those of all.
        """
        least = np.broadcast_to(self.least, np.shape(probabilities))
        if self.least_of and values is not None:
            least = np.stack([self.least_of.get(str(value), self.least) for value in values])
        return np.asarray(probabilities >= least)

    def out_of_distribution(self, embedding: np.ndarray) -> Floats:
        """(N,) in 0..1 of embeddings (N, D), as `Neighbours.out_of_distribution`."""
        return self.neighbours.out_of_distribution(embedding)

    def to_json(self) -> dict[str, Any]:
        """Everything but the embeddings, as it stands in calibration.json."""
        return {
            "temperature": self.temperature,
            "coverage": self.coverage,
            "least_probability": self._named(self.least),
            "per": self.per,
            "least_probability_of": {
                value: self._named(least) for value, least in self.least_of.items()
            },
            **self.about,
        }

    def save(self, folder: Path) -> Path:
        """Write both files into `folder`, in place of earlier ones. Raises WriteError."""
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        with written_whole(folder / ARRAYS) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **vars(self.neighbours))
        with written_whole(folder / JSON) as partial:
            partial.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        return folder / JSON

    @classmethod
    def load(cls, folder: Path, classes: Sequence[str]) -> Calibration | None:
        """What `save` wrote for these classes; None where nothing stands. Raises RunError."""
        path = folder / JSON
        if not path.is_file():
            return None
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            with np.load(folder / ARRAYS, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            arrays["neighbours"] = int(arrays["neighbours"])
            return cls(
                classes=tuple(classes),
                temperature=told.pop("temperature"),
                coverage=told.pop("coverage"),
                least=_ordered(told.pop("least_probability"), classes),
                neighbours=Neighbours(**arrays),
                per=told.pop("per"),
                least_of={
                    value: _ordered(least, classes)
                    for value, least in told.pop("least_probability_of").items()
                },
                about=told,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path}: damaged ({type(error).__name__}: {error}); run deadlib-calibrate again, "
                f"or delete {JSON} and {ARRAYS} for answers that are not calibrated"
            ) from None

    def _named(self, least: Floats) -> dict[str, float]:
        return {name: float(value) for name, value in zip(self.classes, least, strict=True)}


def fit_calibration(
    classes: Sequence[str],
    logits: np.ndarray,
    embedding: np.ndarray,
    class_index: np.ndarray,
    group_index: np.ndarray,
    training_embedding: np.ndarray,
    *,
    coverage: float = 0.9,
    per: str | None = None,
    values: Sequence[Any] | None = None,
) -> Calibration:
    """Fit all three on N examples that training never saw.

    logits (N, K); embedding (N, D); class_index (N,) in 0..K-1; group_index (N,), what never comes
    apart; training_embedding (M, D), of examples that the network learnt from; coverage in 0..1
    (exclusive); values (N,): of the column `per`, each of which gets thresholds of its own, a class
    that has too few groups there those of all.
    """
    weights = group_weights(group_index)
    temperature = fit_temperature(logits, class_index, weights)
    probabilities = softmax(np.asarray(logits, np.float64) / temperature)
    least = least_probabilities(probabilities, class_index, group_index, coverage)
    least_of = {}
    for value in sorted({str(value) for value in values or () if value is not None}):
        chosen = np.array([str(found) == value for found in values or ()])
        own = least_probabilities(
            probabilities[chosen], class_index[chosen], group_index[chosen], coverage
        )
        counts = groups_of_classes(class_index[chosen], group_index[chosen], len(classes))
        least_of[value] = np.where(np.array(counts) < fewest_groups(coverage), least, own)
    return Calibration(
        classes=tuple(classes),
        temperature=temperature,
        coverage=coverage,
        least=least,
        neighbours=Neighbours.fit(training_embedding, embedding, weights),
        per=per,
        least_of=least_of,
    )


def groups_of_classes(class_index: np.ndarray, group_index: np.ndarray, size: int) -> list[int]:
    """How many groups have examples of each of `size` classes."""
    return [len(np.unique(group_index[class_index == k])) for k in range(size)]


def _ordered(least: Mapping[str, float], classes: Sequence[str]) -> Floats:
    return np.array([least[name] for name in classes], np.float64)
