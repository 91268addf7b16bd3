"""Locators: text and back, and names of files that only look like one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrecords_tools.locator import PROJECTIONS, Locator

NUMBERS = st.integers(0, 999)
PLANES = st.one_of(st.integers(1, 99).map(str), st.sampled_from(PROJECTIONS))


@given(
    files=st.lists(
        st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3}){0,2}\.tif", fullmatch=True), min_size=1, max_size=3
    ),
    scene=NUMBERS | st.none(),
    time=NUMBERS | st.none(),
    z=PLANES,
    channels=st.lists(NUMBERS, min_size=1, max_size=3).map(tuple) | st.none(),
)
def test_a_locator_is_read_as_it_was_written(files, scene, time, z, channels):
    locator = Locator(tuple(files), scene=scene, time=time, z=z, channels=channels)
    assert Locator.parse(str(locator)) == locator


@pytest.mark.parametrize("name", ["day#t=3.tif", "a#z=1,c=2.tif", "a#t=x", "a#z=median", "a#c=1+"])
def test_a_file_whose_name_has_a_hash_is_a_file(name):
    assert Locator.parse(name) == Locator((name,))
