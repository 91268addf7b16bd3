"""deadlib-annotate create, annotators and serve, as they are typed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from picture_folder import write_pictures

from deadlib.cli.annotate import main
from deadlib.panel import Panel, Project


def typed(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("images"), 12)


def test_a_panel_is_made_and_annotators_get_links(images: Path, tmp_path: Path) -> None:
    project = tmp_path / "panel"
    made = typed("create", project, images, "--classes", "dead,alive", "--overlap-every", 3)
    assert made.exit_code == 0, made.output
    assert "12 items; answers dead (1), alive (2), unsure (3)" in made.output
    assert Project.open(project).settings.overlap_every == 3
    added = typed("annotators", project, "--add", "Ann [a]", "--url", "https://host/panel/")
    assert added.exit_code == 0, added.output
    link = added.output.strip().removeprefix("Ann [a]: ")
    assert link.startswith("https://host/panel/a/")
    panel = Panel(Project.open(project))
    assert panel.annotator_of(link.rpartition("/")[2]) == "Ann [a]"
    listed = typed("annotators", project)
    assert "Ann [a]" in listed.output
    typed("annotators", project, "--remove", "Ann [a]")
    assert panel.annotator_of(link.rpartition("/")[2]) is None
    panel.close()


def test_images_are_cut_as_deadlib_convert_cuts_them(images: Path, tmp_path: Path) -> None:
    made = typed("create", tmp_path / "panel", images, "--crop-px", 4, "--stride-px", 5)
    assert "48 items" in made.output
    both = typed("create", tmp_path / "other", images, "--stride-px", 5)
    assert both.exit_code == 2
    assert "a crop size with it" in both.output


def test_a_trial_takes_labels_from_folders(images: Path, tmp_path: Path) -> None:
    made = typed("create", tmp_path / "trial", images, "--trial", "3,4,3", "--same-images")
    assert "12 items; answers dead (1), living (2)\n" in made.output
    settings = Project.open(tmp_path / "trial").settings
    assert settings.mode == "trial"
    assert settings.trial.model_dump() == {
        "before": 3, "shown": 4, "after": 3, "same_images": True,
    }  # fmt: skip
    assert typed("create", tmp_path / "x", images, "--trial", "3,4").exit_code == 2
    assert typed("create", tmp_path / "x", images, "--same-images").exit_code == 2
    small = typed("create", tmp_path / "x", images, "--trial", "50,500,50")
    assert small.exit_code == 1
    assert "needs 600, found 12" in small.output


def test_a_mistake_is_told_in_one_message(images: Path, tmp_path: Path) -> None:
    for words in (
        ("create", tmp_path / "panel", tmp_path / "nothing"),
        ("create", tmp_path / "panel", images, "--show", "dose"),
        ("create", tmp_path / "panel", images, "--classes", "dead"),
        ("create", tmp_path / "panel", images, "--split", "test"),
        ("create", tmp_path / "panel", images, "--table", "no.csv"),
        ("annotators", images),
        ("serve", images),
    ):
        result = typed(*words)
        assert result.exit_code == 1, words
        assert result.output.count("error: ") == 1
        assert "Traceback" not in result.output
    assert not (tmp_path / "panel").exists()


def test_a_served_panel_opens_by_its_links_and_stops_when_it_is_told(
    images: Path, tmp_path: Path
) -> None:
    project = tmp_path / "panel"
    typed("create", project, images)
    panel = Panel(Project.open(project))
    token = panel.add_annotator("Ann")
    panel.close()
    script = "from deadlib.cli.annotate import main; main()"
    command = [sys.executable, "-c", script, "serve", str(project), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            link = server.stdout.readline().split()[-1]
            address = link.partition("/admin/")[0]
            with httpx.Client(follow_redirects=True) as browser:
                assert browser.get(address).status_code == 401
                assert browser.get(f"{address}/a/{token}").status_code == 200
                assert browser.get(link).status_code == 200
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
        finally:
            server.kill()


def test_everything_that_a_queue_can_go_by_can_be_typed() -> None:
    from deadlib.cli.annotate import QUEUES
    from deadlib.panel.queue import BY

    assert set(QUEUES) == set(BY)


def test_what_a_model_doubts_most_comes_first(images: Path, tmp_path: Path) -> None:
    import pandas as pd

    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    sure = [0.5 + place / 100 for place in range(len(names))]
    table = pd.DataFrame({"example_id": names, "probability_dead": sure})
    table["probability_living"] = 1 - table["probability_dead"]
    table.to_csv(tmp_path / "predictions.csv", index=False)
    made = typed(
        "create", tmp_path / "panel", images,
        "--queue", tmp_path / "predictions.csv", "--by", "margin",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert "12 of 12 items are ordered by it" in made.output
    project = Project.open(tmp_path / "panel")
    assert project.names == names
    assert project.settings.order == "listed"
