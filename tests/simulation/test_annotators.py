"""Simulated annotators: who sees what, as published, and answers that follow the cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deadlib.simulation import PhaseParameters, SimulationError, simulate
from deadlib.simulation.annotators import Item, annotate, answer, items_of

COLUMNS = [
    "annotator", "item", "position", "light_dose_s", "top_px", "left_px", "height_px", "width_px",
    "first_frame", "frames", "response", "served", "timestamp",
]  # fmt: skip
BLANK = Item("", "P1", 0.0, 0, 0, 256, 256, 0, 10, 0.0)
SMALL: dict[str, Any] = {
    "positions": 4, "positions_per_well": 1, "frames": 5, "width": 128, "height": 96,
    "pixel_um": 1.3, "annotators": 3, "crop_px": 48, "sequence_frames": 2, "responses": 15,
}  # fmt: skip


def items(shares: list[float | None]) -> list[Item]:
    return [replace(BLANK, name=f"i{i}", sick_share=share) for i, share in enumerate(shares)]


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 120),
    annotators=st.integers(1, 5),
    responses=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_nobody_gets_an_item_twice_and_each_fifth_has_been_scored_before(
    count: int, annotators: int, responses: int, seed: int
) -> None:
    log = annotate(items([0.5] * count), annotators, responses, seed)
    assert len({(row["annotator"], row["item"]) for row in log}) == len(log)
    given: Counter[str] = Counter()
    scored: dict[str, set[str]] = {}
    for row in log:
        who, what = row["annotator"], row["item"]
        given[who] += 1
        before = scored.setdefault(what, set())
        assert bool(before) == (row["served"] == "overlap")
        if row["served"] == "overlap":
            assert given[who] % 5 == 0
        elif given[who] % 5 == 0:
            assert all(who in others for others in scored.values() if others)
        before.add(who)
    assert max(given.values()) <= responses
    used = sum(row["served"] == "fresh" for row in log)
    assert used == count or set(given.values()) == {responses}


def test_the_log_is_in_the_order_of_time() -> None:
    times = [
        datetime.fromisoformat(row["timestamp"]) for row in annotate(items([0.1] * 50), 4, 9, 0)
    ]
    assert times == sorted(times)
    assert len(set(times)) == len(times)


def test_answers_follow_the_share_of_sick_cells() -> None:
    shares = [0.0, 0.25, 0.5, 0.75, 1.0]
    said = {}
    for share in shares:
        log = annotate(items([share] * 1600), 4, 400, 1)
        said[share] = Counter(row["response"] for row in log)
    assert [said[share]["sick"] for share in shares] == sorted(said[s]["sick"] for s in shares)
    assert said[0.0]["healthy"] > 0.9 * 1600
    assert said[1.0]["sick"] > 0.9 * 1600
    assert max(shares, key=lambda share: said[share]["unsure"]) == 0.5


def test_an_empty_crop_is_unsure() -> None:
    assert answer(None, 0.5, np.random.default_rng(0)) == "unsure"


def test_items_tile_the_frame_and_the_lapse() -> None:
    images = [
        {"path": f"{name}{t}", "position": name, "time_index": t, "light_dose_s": 5.0}
        for name in "AB"
        for t in range(5)
    ]
    cells = [
        {"path": "A0", "y_px": 10.0, "x_px": 10.0, "stress": 1.0},
        {"path": "A1", "y_px": 39.9, "x_px": 39.9, "stress": 0.0},
        {"path": "A2", "y_px": 10.0, "x_px": 10.0, "stress": 1.0},
        {"path": "A4", "y_px": 10.0, "x_px": 10.0, "stress": 1.0},
        {"path": "A0", "y_px": 10.0, "x_px": 50.0, "stress": 1.0},
    ]
    found = items_of(images, cells, size_px=(40, 100), crop_px=40, frames=2)
    places = {(item.position, item.first_frame, item.top_px, item.left_px) for item in found}
    assert places == {(p, t, 0, x) for p in "AB" for t in (0, 2) for x in (0, 40)}
    assert [item.sick_share for item in found[:4]] == [0.5, 1.0, 1.0, None]
    assert {(item.height_px, item.width_px, item.frames) for item in found} == {(40, 40, 2)}


def test_a_crop_is_at_most_the_image() -> None:
    images = [{"path": "A0", "position": "A", "time_index": 0, "light_dose_s": 5.0}]
    (item,) = items_of(images, [], size_px=(100, 80), crop_px=256, frames=1)
    assert (item.height_px, item.width_px) == (100, 80)


def test_the_log_is_written_and_the_same_with_two_workers(tmp_path: Path) -> None:
    one = simulate("phase", tmp_path / "one", seed=5, **SMALL)
    two = simulate("phase", tmp_path / "two", seed=5, workers=2, **SMALL)
    log = (one / "annotations.csv").read_bytes()
    assert log == (two / "annotations.csv").read_bytes()
    table = pd.read_csv(one / "annotations.csv")
    assert list(table.columns) == COLUMNS
    assert set(table["response"]) <= {"healthy", "sick", "unsure"}
    assert (table["served"] == "fresh").sum() == 4 * 2 * 2 * 2
    images = pd.read_csv(one / "images.csv")
    doses = images.drop_duplicates("position").set_index("position")["light_dose_s"]
    assert (table["light_dose_s"] == table["position"].map(doses)).all()


def test_without_annotators_there_is_no_log(simulated: dict[str, Path]) -> None:
    assert not (simulated["phase"] / "annotations.csv").exists()


def test_a_sequence_longer_than_the_lapse_is_refused() -> None:
    with pytest.raises(SimulationError, match="sequence_frames: found 10, a position has 4 frames"):
        PhaseParameters(annotators=1)
