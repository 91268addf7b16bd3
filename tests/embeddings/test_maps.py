"""Maps: what is near stays near, the same twice, and PCA where UMAP is not there."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import silhouette_score

from deadlib.embeddings import maps
from deadlib.embeddings.figures import Colouring
from deadlib.embeddings.maps import Setting, lay_out
from deadlib.errors import InputError
from deadlib.retrieval import directions


@pytest.fixture
def three_groups():
    rng = np.random.default_rng(0)
    group = np.arange(90) % 3
    return directions(np.eye(3, 8)[group] * 4 + rng.normal(0, 0.5, (90, 8))), group


def test_principal_components_are_those_of_the_singular_values(three_groups):
    vectors, group = three_groups
    found = lay_out(vectors, Setting("pca"))
    centred = vectors - vectors.mean(axis=0)
    u, s, _ = np.linalg.svd(centred.astype(float), full_matrices=False)
    np.testing.assert_allclose(np.abs(found.positions), np.abs((u * s)[:, :2]), atol=1e-4)
    assert silhouette_score(found.positions, group) > 0.5


@pytest.mark.skipif(find_spec("umap") is None, reason="UMAP NOT TESTED: umap-learn not installed")
def test_umap_parts_the_groups_and_is_the_same_twice(three_groups):
    vectors, group = three_groups
    setting = Setting("umap")
    once, twice = (lay_out(vectors, setting).positions for _ in range(2))
    assert silhouette_score(once, group) > 0.5
    np.testing.assert_array_equal(once, twice)


def test_without_umap_auto_is_pca_and_says_so(monkeypatch):
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    assert Setting("auto").resolved == "pca"
    assert "pip install 'deadlib[umap]' adds it" in Setting("auto").sentence
    assert "pip install" not in Setting("pca").sentence
    with pytest.raises(InputError, match="UMAP is not installed"):
        _ = Setting("umap").resolved


def test_pca_loads_no_umap(three_groups):
    there = "umap" in sys.modules
    lay_out(three_groups[0], Setting("pca"))
    assert ("umap" in sys.modules) == there


def test_a_map_of_many_rows_shows_a_draw_of_them(three_groups, monkeypatch):
    monkeypatch.setattr(maps, "MOST", 40)
    found = lay_out(three_groups[0], Setting("pca"))
    assert len(found.rows) == len(np.unique(found.rows)) == len(found.positions) == 40


def test_too_few_rows_have_no_map(three_groups):
    assert lay_out(three_groups[0][:4], Setting("pca")) is None


def test_names_are_names_and_amounts_are_amounts():
    frame = pd.DataFrame(
        {
            "plate": np.arange(20),
            "concentration_um": [0.0, 1.0] * 10,
            "cell_count": np.arange(20),
            "few": [1, 2] * 10,
        }
    )
    amounts = [name for name in frame if Colouring.of(frame, name).is_amount]
    assert amounts == ["concentration_um", "cell_count"]
