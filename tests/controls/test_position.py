"""Where a well lies is read from its name or from columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deadlib.controls.position import one_hot, place_on_plate


def test_wells_are_read_by_name_or_by_row_and_column() -> None:
    wells = pd.DataFrame({"well": ["A01", "B3", "H12", None, "AA10", "U2_DMSO1"]})
    found = place_on_plate(wells)
    assert found is not None
    np.testing.assert_array_equal(found[:3, :2], [[1, 1], [2, 3], [8, 12]])
    assert np.isnan(found[3, :3]).all()
    assert np.isnan(found[5, :3]).all()
    assert found[4, :2].tolist() == [27, 10]
    columns = pd.DataFrame({"row": ["A", "B"], "column": [1, 3]})
    assert place_on_plate(columns)[:, :2].tolist() == [[1, 1], [2, 3]]


def test_the_distance_from_the_edge_is_within_the_wells_that_there_are() -> None:
    wells = pd.DataFrame({"well": [f"{r}{c:02}" for r in "BCDEF" for c in range(2, 9)]})
    edge = place_on_plate(wells)[:, 2].reshape(5, 7)
    assert (edge[0] == 0).all()
    assert (edge[:, -1] == 0).all()
    assert edge[2, 3] == 2


def test_names_of_no_wells_tell_no_place() -> None:
    assert place_on_plate(pd.DataFrame({"well": ["U2_DMSO1", "U2_CPT1"]})) is None
    assert place_on_plate(pd.DataFrame({"plate": ["1", "2"]})) is None


def test_one_hot_leaves_unknown_values_out() -> None:
    assert one_hot(pd.Series(["b", "a", None])).tolist() == [[0, 1], [1, 0], [0, 0]]
