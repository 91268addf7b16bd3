"""The page of explanations says whether its maps may be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from finished_run import make_dataset, make_run
from PIL import Image

from deadlib.interpretation import explain, methods
from deadlib.runs import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("trust")
    return make_run(folder / "run", make_dataset(folder, count=8))


def test_the_gate_is_on_the_page_and_in_a_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = explain(run, run.dataset["path"], tmp_path / "maps", count=4)
    found = json.loads((tmp_path / "maps" / "sanity.json").read_text())
    text = page.read_text(encoding="utf-8")
    assert found["weights"]["sentence"][1:] in text
    assert found["weights"]["stages"][0]["layer"] == "logits"
    assert found["background"]["cells_from"] == "texture"
    for each in found["background"]["classes"]:
        assert 0 <= each["heat_share"] <= 1
        assert each["sentence"] in text
    picture = Image.open(tmp_path / "maps" / "sanity.png")
    assert picture.width > 1200
    monkeypatch.setattr("deadlib.interpretation.images.QUICK", ())
    explain(run, run.dataset["path"], tmp_path / "maps", count=2)
    assert not (tmp_path / "maps" / "sanity.png").exists(), "what an earlier call left goes"
    assert "weights" not in json.loads((tmp_path / "maps" / "sanity.json").read_text())


def test_quick_methods_are_methods() -> None:
    from deadlib.interpretation.names import METHODS, QUICK

    assert set(QUICK) < set(METHODS) == set(methods.METHODS)
