"""Checkpoints: arrays as .npz, everything else as JSON beside them.

The JSON names its arrays and is written last, each by writing beside and renaming: whatever
happens in between, the folder holds the former checkpoint or the new one, whole.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deadlib.errors import RunError
from deadlib.runs import write_atomically

STATE = "state.json"

Arrays = dict[str, np.ndarray]


def save_checkpoint(folder: Path, arrays: Mapping[str, Any], state: Any) -> None:
    """Replace the checkpoint in `folder`. `state` is what JSON can hold; NaN is allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    former = _arrays_name(folder)
    name = "arrays-a.npz" if former != "arrays-a.npz" else "arrays-b.npz"
    write_atomically(folder / name, lambda file: np.savez(file, allow_pickle=False, **arrays))
    text = json.dumps({"arrays": name, "state": state}, indent=1)
    write_atomically(folder / STATE, lambda file: file.write(text.encode()))
    if former is not None and former != name:
        (folder / former).unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> tuple[Arrays, Any] | None:
    """Arrays and state, or None where there is no checkpoint. Raises RunError for a damaged one."""
    if not (folder / STATE).is_file():
        return None
    try:
        described = json.loads((folder / STATE).read_text(encoding="utf-8"))
        with np.load(folder / described["arrays"], allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}, described["state"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{folder}: the checkpoint is damaged ({error}); delete the folder {folder} to start "
            "from the beginning, or restore it"
        ) from None


def variable_arrays(prefix: str, variables: list[Any]) -> Arrays:
    """The values of Keras variables, named by their place: `prefix/0007`."""
    return {
        f"{prefix}/{place:04d}": np.asarray(variable.numpy())
        for place, variable in enumerate(variables)
    }


def assign_arrays(prefix: str, variables: list[Any], arrays: Arrays, folder: Path) -> None:
    """Give variables the values of `variable_arrays`. Raises RunError where they do not fit."""
    found = {name: array for name, array in arrays.items() if name.startswith(f"{prefix}/")}
    names = [f"{prefix}/{place:04d}" for place in range(len(variables))]
    if sorted(found) != names:
        raise RunError(
            f"{folder}: the checkpoint holds {len(found)} variables of the {prefix}, this recipe "
            f"makes {len(variables)}; it was written by another recipe or version"
        )
    for name, variable in zip(names, variables, strict=True):
        if found[name].shape != tuple(variable.shape):
            raise RunError(
                f"{folder}: {variable.path} has shape {found[name].shape} in the checkpoint and "
                f"{tuple(variable.shape)} here; it was written by another recipe or version"
            )
        variable.assign(found[name])


def _arrays_name(folder: Path) -> str | None:
    try:
        name: str = json.loads((folder / STATE).read_text(encoding="utf-8"))["arrays"]
    except (OSError, ValueError, KeyError):
        return None
    return name
