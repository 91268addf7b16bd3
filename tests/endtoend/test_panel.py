"""A panel from its first command to a dataset, by the commands and the pages that people use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from browser import screenshot
from click.testing import CliRunner
from panel_pages import added, press, ready
from panel_server import served
from picture_folder import write_pictures

from deadlib.cli import annotate, convert
from tfrecords_tools import open_dataset

ITEMS = 30


def run(command: click.Command, *arguments: object) -> None:
    found = CliRunner().invoke(command, list(map(str, arguments)))
    assert found.exit_code == 0, found.output


def test_thirty_items_are_annotated_by_keyboard_settled_exported_and_converted(
    tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    images, project = write_pictures(tmp_path / "images", ITEMS), tmp_path / "panel"
    run(annotate.main, "create", project, images, "--assignment", "everyone")
    with served(project) as (server,):
        administrator = open_page(server.administrator)
        links = {name: added(administrator, name) for name in ("Ana", "Ben")}

        ana = open_page(links["Ana"])
        ready(ana)
        press(ana, *"1" * 12)
        ana.close()
        ana = ana.context.new_page()
        ana.goto(server.url)
        ready(ana)
        assert "12 of 30" in ana.locator("#count").text_content()
        press(ana, *"2" * 18)
        assert ana.locator("#done").is_visible()

        ben = open_page(links["Ben"])
        ready(ben)
        press(ben, *"113")

        administrator.goto(f"{server.url}/admin/adjudication")
        ready(administrator)
        waiting = int(administrator.locator("#count").text_content().split()[0])
        assert waiting >= 1, "an item with Unsure waits"
        administrator.get_by_label("Decided by").fill("Cleo")
        administrator.keyboard.press("Tab")
        press(administrator, *"1" * waiting)
        assert administrator.locator("#done").is_visible()

        administrator.goto(f"{server.url}/admin")
        screenshot(administrator, "panel_administration")
        with administrator.expect_download() as download:
            administrator.get_by_role("link", name="Export every answer").click()
        log = tmp_path / "annotations.csv"
        download.value.save_as(log)
        administrator.goto(f"{server.url}/admin/results")
        assert "Ben" in administrator.content()
        screenshot(administrator, "panel_results")

    dataset = tmp_path / "dataset"
    run(convert.main, images, dataset, "--annotations", log, "--fractions", "0.5,0.2,0.3")
    labels = open_dataset(dataset).manifest["label"].value_counts().to_dict()
    assert sum(labels.values()) == ITEMS, "what was disputed has been settled"
    assert set(labels) == {"healthy", "sick"}
    assert labels["healthy"] >= 12
