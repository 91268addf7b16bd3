"""Pictures of plates: what is in which colour."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deadlib.errors import InputError
from deadlib.plates.drawing import CONTROLS, Amounts, Categories, plate_map, scale_of
from deadlib.plates.geometry import plate_format


def has_colour(png: bytes, colour: str) -> bool:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return bool((pixels == wanted).all(axis=-1).any())


def test_a_plate_is_drawn_with_its_empty_wells_and_said_in_words() -> None:
    calls = {"A1": "healthy", "B03": "apoptosis", "B4": "healthy", "H12": None}
    drawn = plate_map(calls, title="Plate 7", name="calls", legend="prediction")
    assert drawn.name == "calls"
    assert drawn.alt == (
        "Plate 7. Plate of 96 wells, 4 in use. prediction: healthy: 2, apoptosis: 1"
    )
    scale = scale_of(calls.values())
    assert isinstance(scale, Categories)
    assert has_colour(drawn.png, scale.colour("healthy"))
    assert has_colour(drawn.png, scale.colour("apoptosis"))
    assert b"<svg" in drawn.svg


def test_a_picture_is_the_same_each_time() -> None:
    first, second = (
        plate_map({"P24": 0.5, "A01": 1.0}, title="1", name="v", marked=["A1"], mark="chosen")
        for _ in range(2)
    )
    assert first == second
    assert "384 wells, 2 in use. 0.5 to 1; chosen: 1" in first.alt


def test_controls_are_grey_and_treatments_are_not() -> None:
    names = ("DMSO", *(f"compound {number}" for number in range(30)), "untreated")
    scale = Categories(names)
    assert scale.numbered
    assert scale.colour("DMSO") == CONTROLS["dmso"]
    assert not set(CONTROLS.values()) & {scale.colour(name) for name in names[1:-1]}
    assert [scale.sign(name) for name in names[:2]] == ["1", "2"]
    few = Categories(("DMSO", "a", "b"))
    assert len({few.colour(name) for name in few.names}) == 3
    assert few.sign("a") == ""


def test_one_scale_serves_all_plates() -> None:
    scale = scale_of([0.2, None, math.nan, pd.NA, 1.1])
    assert scale == Amounts(0.2, 1.1)
    doses = scale_of([0.0, 0.01, 10.0], logarithmic=True)
    assert doses == Amounts(0.01, 10.0, logarithmic=True)
    assert doses.colour(0.0) == CONTROLS["dmso"]
    assert np.allclose(doses.colour(10**-0.5), scale.colour_map(0.5), atol=0.02)
    assert scale_of([True, False]) == Categories(("True", "False"))
    equal = scale_of([2.0, 2.0])
    assert isinstance(equal, Amounts)
    assert equal.low < 2 < equal.high


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(InputError, match="'B' is no well; expected a name such as B03"):
        plate_map({"B": 1.0}, title="1", name="v")
    with pytest.raises(InputError, match=r"well I01 is outside a plate of 96 wells \(8 x 12\)"):
        plate_map({"I1": 1.0}, title="1", name="v", plate=plate_format(96))
    with pytest.raises(InputError, match="no well has a value"):
        scale_of([None, math.nan])
    with pytest.raises(InputError, match="a value above 0"):
        scale_of([0.0], logarithmic=True)


def test_a_library_of_compounds_has_its_legend_beside_the_plate() -> None:
    wells = {f"{row}{column}": f"c{row}{column}" for row in "ABCDEFGH" for column in range(1, 13)}
    drawn = plate_map(wells, title="1", name="compounds")
    width, height = Image.open(io.BytesIO(drawn.png)).size
    assert height < width
    assert "cH12: 1" in drawn.alt
