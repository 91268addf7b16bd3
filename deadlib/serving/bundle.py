"""An exported model as its reader sees it: one folder, opened without the run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from deadlib.errors import ExportError
from deadlib.inputs import Warn, python_warning
from deadlib.runs import changed

EXTRA = "assets.extra"
DESCRIPTION = "deadlib.json"
CARD, CARD_PAGE = "card.json", "card.html"
SAVED_MODEL = "saved_model.pb"

NEEDED = {
    "classes",
    "channels",
    "signatures",
    "outputs",
    "input",
    "window_px",
    "calibrated",
    "out_of_distribution_above",
    "exported_with",
}
"""What deadlib.json must tell."""


@dataclass(frozen=True)
class Bundle:
    """One version of an exported model. What needs TensorFlow loads it when it is first asked."""

    folder: Path
    """`OUT/<version>`."""
    description: dict[str, Any]
    """deadlib.json."""

    @property
    def version(self) -> int:
        return int(self.folder.name)

    @property
    def classes(self) -> list[str]:
        """In the order of `probability`."""
        return list(self.description["classes"])

    @property
    def channels(self) -> list[str]:
        return list(self.description["channels"])

    @property
    def calibrated(self) -> bool:
        return bool(self.description["calibrated"])

    @property
    def out_of_distribution_above(self) -> float | None:
        """Where an image is unlike all that was learnt; None where the model cannot tell."""
        return self.description["out_of_distribution_above"]

    @property
    def window_px(self) -> tuple[int, int] | None:
        """Rows and columns of what the network sees of an image: of all of it, where `fit` is
        resize. None where images of several sizes were taught."""
        found = self.description["window_px"]
        return None if found is None else (found[0], found[1])

    @property
    def fit(self) -> str:
        """resize: the whole image is brought to size; crop: its central window is seen."""
        return str(self.description["input"]["fit"])

    @cached_property
    def card(self) -> dict[str, Any]:
        """The model card (card.json)."""
        return _json(self.folder / EXTRA / CARD)

    @property
    def card_page(self) -> Path:
        """The model card as a page that opens offline."""
        return self.folder / EXTRA / CARD_PAGE

    @cached_property
    def signatures(self) -> Mapping[str, Any]:
        """What can be asked, by name: functions of named tensors to named tensors.

        `serving_default` (image) and where files can be taken `encoded` (image_bytes) answer;
        `gradcam` (image) gives evidence (B, h, w) float32 for the most probable class of each
        image, `gradcam_of_class` (image, class_index) for the class asked about. `description`
        says what goes in and what comes out. Raises ExportError where the model cannot be loaded.
        """
        found: Mapping[str, Any] = self._loaded.signatures
        return found

    @cached_property
    def _loaded(self) -> Any:
        """Kept: signatures alone would let go of the variables."""
        import tensorflow as tf

        try:
            return tf.saved_model.load(str(self.folder))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ExportError(
                f"{self.folder}: cannot be loaded ({str(error).splitlines()[0]}); export again"
            ) from None

    def check(self, warn: Warn = python_warning) -> dict[str, float]:
        """How far each signature's answers to the stored images lie from the stored answers.

        Up to 1e-4 is rounding; `warn` says where it is more, and names the versions of the
        libraries that stored them and that answer now. Raises ExportError where nothing is stored.
        """
        from deadlib.serving.golden import GOLDEN, TOLERANCE, Golden, differences

        path = self.folder / EXTRA / GOLDEN
        try:
            golden = Golden.read(path)
        except (OSError, ValueError, KeyError) as error:
            raise ExportError(f"{path}: cannot be read ({error}); export again") from None
        found = differences(self.signatures, golden)
        # answers that are no numbers any more differ most
        name, largest = max(found.items(), key=lambda item: (math.isnan(item[1]), item[1]))
        if not largest <= TOLERANCE:
            stored_with = self.description["exported_with"]
            warn(changed(f"{self.folder}, signature {name}", largest, stored_with))
        return found


def open_bundle(folder: str | Path) -> Bundle:
    """Open what deadlib-export wrote: a folder of versions, of which the highest is taken, or one
    version. Raises ExportError where there is none, or it is damaged or of an earlier deadlib.
    """
    folder = Path(folder)
    if not (folder / SAVED_MODEL).is_file():
        numbered = [path for path in _entries(folder) if path.name.isdecimal()]
        whole = [path for path in numbered if (path / SAVED_MODEL).is_file()]
        if not whole:
            raise ExportError(
                f"{folder}: no exported model (no {SAVED_MODEL}, nor a folder 1, 2, ... with one); "
                "give what deadlib-export wrote"
            )
        folder = max(whole, key=lambda path: int(path.name))
    description = _json(folder / EXTRA / DESCRIPTION)
    missing = sorted(NEEDED - description.keys())
    if missing or not folder.name.isdecimal():
        found = f"no {', '.join(missing)} in it" if missing else "its name is no version number"
        raise ExportError(
            f"{folder}: exported by another version of deadlib, or changed since ({found}); export "
            "the run again"
        )
    return Bundle(folder, description)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise ExportError(
            f"{folder}: cannot be read ({error.strerror}); give what deadlib-export wrote"
        ) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror}); export again") from None
    except ValueError as error:
        raise ExportError(f"{path}: damaged ({error}); export again") from None
    if not isinstance(found, dict):
        raise ExportError(f"{path}: damaged (found no JSON object); export again")
    return found
