"""A checkpoint is the former one or the new one, whole; and it fits or is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from deadlib.errors import RunError
from deadlib.training.checkpoint import (
    assign_arrays,
    load_checkpoint,
    save_checkpoint,
    variable_arrays,
)

FIRST = {"network/0000": np.arange(5, dtype=np.float32), "n": np.array(2**40, np.int64)}
SECOND = {"network/0000": np.full(5, np.nan, np.float32), "n": np.array(7, np.int64)}


def assert_holds(folder: Path, arrays: dict[str, np.ndarray], state: Any) -> None:
    found = load_checkpoint(folder)
    assert found is not None
    assert found[1] == state
    assert set(found[0]) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[0][name], array)
        assert found[0][name].dtype == array.dtype


def test_a_checkpoint_reads_back_the_same(tmp_path: Path) -> None:
    for number in range(3):
        save_checkpoint(tmp_path / "latest", FIRST, {"step": number})
        assert_holds(tmp_path / "latest", FIRST, {"step": number})
        assert len(list((tmp_path / "latest").iterdir())) == 2


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("renames_before_the_crash", [0, 1])
def test_a_crash_while_saving_leaves_the_former_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames_before_the_crash: int
) -> None:
    save_checkpoint(tmp_path, FIRST, "first")
    rename, left = os.replace, [renames_before_the_crash]

    def crash(source: Any, target: Any) -> None:
        if not left[0]:
            raise SystemExit("pulled the plug")
        left[0] -= 1
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", crash)
        with pytest.raises(SystemExit):
            save_checkpoint(tmp_path, SECOND, "second")
    assert_holds(tmp_path, FIRST, "first")
    save_checkpoint(tmp_path, SECOND, "second")
    assert_holds(tmp_path, SECOND, "second")


def test_a_full_disk_is_one_message_and_keeps_the_former_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, FIRST, "first")
    with monkeypatch.context() as patched:

        def full(*arguments: Any, **options: Any) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr(np, "savez", full)
        with pytest.raises(RunError, match=r"cannot be written \(No space left"):
            save_checkpoint(tmp_path, SECOND, "second")
    assert_holds(tmp_path, FIRST, "first")


@pytest.mark.parametrize("damage", ["cut arrays", "no arrays", "cut state"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    save_checkpoint(tmp_path, {"a": np.zeros(1000)}, "first")
    arrays, state = tmp_path / "arrays-a.npz", tmp_path / "state.json"
    if damage == "cut arrays":
        arrays.write_bytes(arrays.read_bytes()[:4000])
    elif damage == "no arrays":
        arrays.unlink()
    else:
        state.write_text(state.read_text()[:10])
    with pytest.raises(RunError, match="the checkpoint is damaged"):
        load_checkpoint(tmp_path)


def network(units: int, layers: int = 1) -> keras.Model:
    return keras.Sequential(
        [keras.Input((3,)), *(keras.layers.Dense(units) for _ in range(layers))]
    )


def test_variables_come_back_bit_for_bit(tmp_path: Path) -> None:
    model = network(4)
    arrays = variable_arrays("network", model.variables)
    kept = [variable.numpy().copy() for variable in model.variables]
    for variable in model.variables:
        variable.assign(variable + 1)
    assign_arrays("network", model.variables, arrays, tmp_path)
    for variable, value in zip(model.variables, kept, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize(("units", "layers", "message"), [(5, 1, "shape"), (4, 2, "variables of")])
def test_variables_of_another_network_are_refused(
    tmp_path: Path, units: int, layers: int, message: str
) -> None:
    arrays = variable_arrays("network", network(4).variables)
    with pytest.raises(RunError, match=message):
        assign_arrays("network", network(units, layers).variables, arrays, tmp_path)
