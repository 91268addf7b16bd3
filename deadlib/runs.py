"""The run directory: what training leaves and everything after it reads.

recipe.yaml      the recipe as resolved
dataset.json     what the run needs to know of its dataset: channels, classes, card, split
                 proof, conversion settings, fingerprint, fitted intensity statistics
versions.json    Python, deadlib, TensorFlow, Keras, NumPy; machine; seed; command
history.csv      one row per validation, by default one per epoch
log.txt          what TensorFlow and other libraries had to say
tensorboard/     event files
checkpoints/     latest/ (to resume from) and kept/
snapshots/       networks of single steps, where the recipe asks for them
model.keras      the network with the weights kept; written last, so a run directory with it is
                 finished
predictions.parquet  where deadlib-predict is told no other place
class_weights/   what deadlib-explain averaged over the training images, one file per layer
golden.npz       two images as the network sees them, and its answers; loading it compares
calibration.json, calibration.npz  what deadlib-calibrate fitted; predictions then keep to it
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from deadlib._version import __version__
from deadlib.calibration import Calibration, softmax
from deadlib.calibration.calibration import FILES
from deadlib.errors import ResultsChangedWarning, RunError
from deadlib.recipe import Recipe, load_recipe, recipe_text
from tfrecords_tools.shards import file_hash

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd

RECIPE = "recipe.yaml"
DATASET = "dataset.json"
VERSIONS = "versions.json"
HISTORY = "history.csv"
LOG = "log.txt"
TENSORBOARD = "tensorboard"
CHECKPOINTS = "checkpoints"
SNAPSHOTS = "snapshots"
MODEL = "model.keras"
PREDICTIONS = "predictions.parquet"
CLASS_WEIGHTS = "class_weights"
GOLDEN = "golden.npz"
CALIBRATION = FILES
GOLDEN_EXAMPLES = 2
GOLDEN_TOLERANCE = 1e-3
"""Of a probability. Rounding, also that of another machine, is a hundred times less."""

ALL = (
    MODEL,
    GOLDEN,
    *CALIBRATION,
    PREDICTIONS,
    CLASS_WEIGHTS,
    SNAPSHOTS,
    CHECKPOINTS,
    TENSORBOARD,
    HISTORY,
    VERSIONS,
    DATASET,
    RECIPE,
)
"""In this order a run is deleted: at any moment it is still seen as an unfinished run."""


@dataclass(frozen=True)
class Run:
    """A finished run directory, read only; or a snapshot of a run, finished or not."""

    folder: Path
    snapshot: int | None = None
    """The training step whose network is taken; None for the weights kept."""

    @classmethod
    def open(cls, folder: str | Path, snapshot: int | None = None) -> Run:
        """Open a finished run, or the snapshot of a step of any run.

        Raises RunError where it is missing or unfinished, or has no snapshot of that step.
        """
        folder = Path(folder)
        if not (folder / RECIPE).is_file():
            raise RunError(
                f"{folder}: no run directory (no {RECIPE}); give what deadlib-train wrote"
            )
        if snapshot is not None:
            _check_snapshot(folder, snapshot)
        elif not (folder / MODEL).is_file():
            raise RunError(
                f"{folder}: the run is unfinished (no {MODEL}); continue it with "
                f"deadlib-train {folder / RECIPE} --run {folder} --resume"
            )
        return cls(folder, snapshot)

    @cached_property
    def recipe(self) -> Recipe:
        return load_recipe(self.folder / RECIPE)

    @cached_property
    def dataset(self) -> dict[str, Any]:
        return self._json(DATASET)

    @cached_property
    def versions(self) -> dict[str, Any]:
        return self._json(VERSIONS)

    @cached_property
    def history(self) -> pd.DataFrame:
        import pandas as pd

        if not (self.folder / HISTORY).is_file():  # a snapshot from before the first validation
            return pd.DataFrame()
        return pd.read_csv(self.folder / HISTORY)

    @property
    def kept_epoch(self) -> float:
        """The epoch whose weights are kept, 1 after one pass over the training split."""
        epoch = float(self.history["epoch"].iloc[self.kept_round - 1])
        return int(epoch) if epoch.is_integer() else epoch

    @property
    def kept_round(self) -> int:
        """The row of the history (1-based) whose weights are kept: the first with the best metric,
        or the last, as the recipe's validation.keep says."""
        if self.recipe.validation.keep == "last":
            return len(self.history)
        metric = self.recipe.validation.metric
        sign = -1 if metric == "loss" else 1
        values = sign * self.history[f"validation_{metric}"]
        return int(values.fillna(float("-inf")).argmax()) + 1

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the network's outputs."""
        return list(self.dataset["classes"])

    @property
    def channels(self) -> list[str]:
        """Channel names in the order of the network's input."""
        return list(self.dataset["channels"])

    @property
    def network_path(self) -> Path:
        """The file of the network: of the weights kept, or of the snapshot."""
        if self.snapshot is not None:
            return snapshot_path(self.folder, self.snapshot)
        return self.folder / MODEL

    @cached_property
    def calibration(self) -> Calibration | None:
        """What deadlib-calibrate fitted; None where it did not run, and for a snapshot.

        Raises RunError where it is damaged, or was fitted on another network.
        """
        if self.snapshot is not None:
            return None
        found = Calibration.load(self.folder, self.classes)
        if found and found.about.get("network_sha256") != file_hash(self.network_path):
            raise RunError(
                f"{self.folder}: was calibrated with another network than its {MODEL}; run "
                f"deadlib-calibrate {self.folder} again, or delete {' and '.join(CALIBRATION)}"
            )
        return found

    def network(self) -> keras.Model:
        """Load the trained network: preprocessed images in, logits out.

        A ResultsChangedWarning says where it does not answer any more as at the end of training.
        """
        import keras

        try:
            found = keras.models.load_model(self.network_path, compile=False)
        except (OSError, ValueError) as error:
            raise RunError(f"{self.network_path}: cannot be read ({error})") from None
        if self.snapshot is None:
            self._check_golden(found)
        return found

    def _check_golden(self, network: keras.Model) -> None:
        import numpy as np

        path = self.folder / GOLDEN
        if not path.is_file():  # a run of an earlier deadlib
            return
        try:
            with np.load(path, allow_pickle=False) as stored:
                images, expected = stored["images"], stored["probability"]
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"{path}: damaged ({error}); delete it to go without") from None
        difference = float(np.abs(_golden_answers(network, images) - expected).max())
        if not difference <= GOLDEN_TOLERANCE:
            sentence = changed(str(self.network_path), difference, self.versions)
            warnings.warn(sentence, ResultsChangedWarning, stacklevel=3)

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RunError(f"{path}: cannot be read ({error.strerror})") from None
        except json.JSONDecodeError as error:
            raise RunError(f"{path}: damaged ({error})") from None
        return found


def check_free(
    folder: Path, recipe: Recipe, *, resume: bool = False, overwrite: bool = False
) -> None:
    """Refuse to train into `folder` where that would mix runs or delete what is no run.

    Raises RunError: without `resume` or `overwrite` where a run stands there; with `resume` where
    none does, or one of another recipe; where the folder holds other files and no run.
    """
    if resume and overwrite:
        raise RunError("--resume continues a run and --overwrite deletes it; give one of them")
    if (folder / RECIPE).is_file():
        if resume:
            _check_same_recipe(folder, recipe)
        elif not overwrite and ((folder / MODEL).exists() or (folder / CHECKPOINTS).exists()):
            raise RunError(
                f"{folder}: a run already stands here; continue it with --resume, replace it with "
                "--overwrite, or choose another folder with --run"
            )
    elif resume:
        raise RunError(f"{folder}: no run to resume (no {RECIPE}); leave out --resume to start one")
    elif folder.exists() and (not folder.is_dir() or _other_than_log(folder)):
        raise RunError(f"{folder}: not empty and not a run; choose a new folder with --run")


def start(folder: Path, recipe: Recipe, *, overwrite: bool = False) -> None:
    """Make the folder of a new run, after deleting the run that stood there if that was asked."""
    if overwrite:
        for name in ALL:
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: the folder cannot be made ({error.strerror})") from None
    write_text(folder / RECIPE, recipe_text(recipe))


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file beside `path` and rename it: readers see the former file or the new one.

    Raises RunError where the disk refuses.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); free the disk and use --resume"
        ) from None


def write_text(path: Path, text: str) -> None:
    """`write_atomically` for text."""
    write_atomically(path, lambda file: file.write(text.encode()))


def library_versions() -> dict[str, str]:
    """Of what the answers of a network depend on, as installed here."""
    import keras
    import numpy as np
    import tensorflow as tf

    return {
        "deadlib": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }


def changed(what: str, difference: float, stored_with: Mapping[str, Any]) -> str:
    """What to say where answers differ from those that were stored with these versions."""
    now = library_versions()
    moved = {name for name in now if name in stored_with and stored_with[name] != now[name]}
    then, here = (
        ", ".join(f"{name} {versions[name]}" for name in sorted(moved))
        for versions in (stored_with, now)
    )
    why = (
        f"stored with {then}, answered with {here}"
        if moved
        else "the versions of the libraries are the same, so look at the machine or at the files"
    )
    return f"{what}: its answers changed by up to {difference:.1e} since they were stored ({why})"


def store_golden(folder: Path, network: keras.Model, images: np.ndarray) -> None:
    """Keep images (N, H, W, C) float32 as the network sees them with what it answers now."""
    import numpy as np

    probability = _golden_answers(network, images)
    arrays = {"images": images, "probability": probability}
    write_atomically(
        folder / GOLDEN, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays)
    )


def _golden_answers(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Probabilities (N, K), computed where all machines round nearly alike."""
    import numpy as np
    import tensorflow as tf

    with tf.device("/CPU:0"):
        return softmax(np.asarray(network(images, training=False), np.float64))


def snapshot_path(folder: Path, step: int) -> Path:
    """Where the run in `folder` keeps the network of a step."""
    return folder / SNAPSHOTS / f"{step:08d}.keras"


def save_network(network: keras.Model, path: Path) -> None:
    """Written beside under a name that Keras accepts, then renamed. Raises RunError."""
    beside = path.with_name(".part.keras")
    try:
        path.parent.mkdir(exist_ok=True)
        network.save(beside)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); free the disk and use --resume"
        ) from None


def _check_snapshot(folder: Path, step: int) -> None:
    if snapshot_path(folder, step).is_file():
        return
    found = ", ".join(str(int(path.stem)) for path in sorted((folder / SNAPSHOTS).glob("*.keras")))
    raise RunError(
        f"{folder}: no snapshot of step {step}; "
        + (f"there are those of steps {found}" if found else "it has none")
        + "; training.snapshot_every_steps says which are kept"
    )


def _other_than_log(folder: Path) -> bool:
    return any(entry.name != LOG for entry in folder.iterdir())


def _check_same_recipe(folder: Path, recipe: Recipe) -> None:
    stored = load_recipe(folder / RECIPE)
    if stored == recipe:
        return
    changed = [
        name for name in type(recipe).model_fields if getattr(stored, name) != getattr(recipe, name)
    ]
    raise RunError(
        f"{folder}: the run was started with another recipe (differs in {', '.join(changed)}); "
        f"resume it with deadlib-train {folder / RECIPE} --run {folder} --resume"
    )
