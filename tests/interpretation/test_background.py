"""Which pixels are cells is taken from the simulator, or guessed well from texture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from finished_run import make_dataset, make_run

from deadlib.controls.cells import texture_masks
from deadlib.inputs import RunInput, open_input
from deadlib.interpretation.background import (
    Background,
    by_class,
    cells,
    shares,
)
from deadlib.simulation import simulate
from tfrecords_tools import ConversionSettings, convert


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> RunInput:
    folder = tmp_path_factory.mktemp("simulated")
    simulate(
        "phase",
        folder / "images",
        positions=12,
        positions_per_well=1,
        frames=1,
        width=192,
        height=160,
        seed=2,
    )
    settings = ConversionSettings(
        labels="table", table=str(folder / "images" / "images.csv"), tile=(2, 2)
    )
    dataset = convert(folder / "images", folder / "dataset", settings)
    run = make_run(folder / "run", dataset)
    return open_input(run, dataset.folder, folder / "none")


def test_masks_of_simulated_images_are_the_simulators(simulated: RunInput) -> None:
    found = cells(simulated, range(12))
    assert found.origin == "simulator"
    folder = Path(simulated.dataset.sources[0]["folder"])
    for row, mask in enumerate(found.masks):
        example = simulated.dataset.manifest.iloc[row]
        truth = tifffile.imread(folder / "truth" / "masks" / Path(example["source_id"]).name)
        top, left = example["top_px"], example["left_px"]
        np.testing.assert_array_equal(mask, truth[top : top + 80, left : left + 96] > 0)


def test_texture_agrees_with_the_simulator(simulated: RunInput) -> None:
    """Dice overlap over all pixels; 0.86 on average over tiles of the default experiment."""
    rows = range(len(simulated.dataset.manifest))
    truth = np.stack(cells(simulated, rows).masks)
    guess = np.stack(texture_masks([simulated.image(row) for row in rows]))
    dice = 2 * (truth & guess).sum() / (truth.sum() + guess.sum())
    assert dice > 0.8
    assert abs(truth.mean() - guess.mean()) < 0.08


def test_images_of_others_are_read_by_texture(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, count=4)
    given = open_input(make_run(tmp_path / "run", dataset), dataset.folder, tmp_path / "none")
    found = cells(given, [0, 1])
    assert found.origin == "texture"
    assert [mask.shape for mask in found.masks] == [(24, 30)] * 2


def test_shares_are_of_the_heat_and_of_the_area() -> None:
    heat = np.zeros((4, 10), np.float32)
    heat[:, 0], heat[:, 5] = 3, 1
    mask = np.zeros((4, 10), bool)
    mask[:, :4] = True
    assert shares(heat, mask) == (pytest.approx(0.25), pytest.approx(0.6))
    assert np.isnan(shares(0 * heat, mask)[0])


def test_heat_on_empty_places_is_said_in_a_sentence() -> None:
    nan = float("nan")
    found = by_class(
        ["sick", "sick", "well", "sick"], [(0.8, 0.4), (0.6, 0.3), (0.1, 0.4), (nan, 1)]
    )
    assert [(each.target, each.images) for each in found] == [("sick", 2), ("well", 1)]
    assert found[0].ratio == pytest.approx(2)
    assert "70% of the heat lies on background, which is 35% of the area" in found[0].sentence()
    assert "take empty places for a sign of this class" in found[0].sentence()
    assert "empty places" not in found[1].sentence()
    assert np.isnan(Background("sick", 1, 0.0, 0.0).ratio)
