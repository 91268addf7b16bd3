"""deadlib-export: a run in, a version and how to ask it out."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from finished_run import make_dataset, make_run

from deadlib.cli.export import main
from deadlib.runs import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("exported")
    return make_run(folder / "run", make_dataset(folder, count=4))


def test_a_version_is_written_and_described(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "served"
    done = CliRunner().invoke(main, [str(run.folder), str(out)])
    assert done.exit_code == 0, done.output
    assert (out / "1" / "saved_model.pb").is_file()
    for word in ("serving_default", "encoded", "image_bytes", "class_name", "dead, living"):
        assert word in done.stdout
    assert f"next: deadlib-serve {out}" in done.stderr
    assert "card.html" in done.stdout
    assert "WARNING: Not evaluated" in done.stderr


def test_mistaken_words_for_the_card_cost_no_export(run: Run, tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text("licens: MIT")
    out = tmp_path / "served"
    done = CliRunner().invoke(
        main, [str(run.folder), str(out), "--card", str(tmp_path / "card.yaml")]
    )
    assert done.exit_code == 1
    assert "card.yaml: licens: extra inputs are not permitted" in done.stderr
    assert not out.exists()


def test_a_folder_that_is_no_run_is_one_message(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(tmp_path), str(tmp_path / "served")])
    assert done.exit_code == 1
    assert "no run directory" in done.stderr
    assert not (tmp_path / "served").exists()
