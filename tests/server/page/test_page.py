"""The page as people use it, in a real browser."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from browser import running, screenshot, serious_faults

from deadlib.server import create_app


@pytest.fixture(scope="module")
def address(exported: Path) -> Iterator[str]:
    with running(create_app({"first": exported.parent})) as url:
        yield url


@pytest.fixture(scope="module")
def cells(dataset_folder: Path) -> list[Path]:
    """Five images of cells as large as the training images."""
    return sorted((dataset_folder / "images").glob("*/*0[0-4].png"))[3:8]


@pytest.fixture(scope="module")
def lapse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 frames of 32 x 48 px that grow brighter."""
    frames = np.random.default_rng(0).integers(0, 30000, (200, 32, 48), dtype=np.uint16)
    frames += np.linspace(0, 30000, 200).astype(np.uint16)[:, None, None]
    path = tmp_path_factory.mktemp("lapse") / "lapse.tif"
    tifffile.imwrite(path, frames, photometric="minisblack")
    return path


def choose(page: Any, *files: Path) -> None:
    page.set_input_files("#files", files)


def wait_until_finished(page: Any) -> None:
    page.locator("#told", has_text="Finished").wait_for(state="attached")


def names(page: Any) -> list[str]:
    return list(page.locator("#table tbody button.name").all_inner_texts())


def test_images_are_chosen_answered_sorted_filtered_and_downloaded(
    open_page: Any, address: str, cells: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    page = open_page(address)
    choose(page, *cells, broken)
    wait_until_finished(page)
    assert names(page) == sorted(path.name for path in (*cells, broken))
    line = page.locator("#table tbody tr", has_text="broken.png")
    assert "not a PNG, JPEG, BMP or TIFF" in line.inner_text()

    page.get_by_role("button", name="Probability").click()
    shares = page.locator("#table td.number").all_inner_texts()
    values = [float(text.strip("<> %")) for text in shares]
    assert values == sorted(values)
    head = page.locator("#table th[aria-sort]")
    assert head.inner_text().startswith("Probability")
    assert head.get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Probability").click()
    assert head.get_attribute("aria-sort") == "descending"

    page.get_by_label("Name contains").fill("living")
    assert names(page)
    assert all("living" in name for name in names(page))
    page.get_by_label("Name contains").fill("")
    page.get_by_label("Show").select_option("error")
    assert names(page) == ["broken.png"]

    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row["file"] for row in rows] == sorted(path.name for path in (*cells, broken))
    assert download.value.suggested_filename == "answers.csv"


def test_a_lapse_of_200_frames_gives_a_curve_and_heat(
    open_page: Any, address: str, lapse: Path, cells: list[Path]
) -> None:
    page = open_page(address)
    choose(page, lapse, cells[0])
    wait_until_finished(page)
    assert "1 to 100 of 201" in page.locator("#range").inner_text()
    curve = page.locator("#curve svg")
    assert curve.get_attribute("aria-label").startswith("Share of dead:")
    assert "in frame 200" in curve.get_attribute("aria-label")
    page.get_by_label("Minutes between frames").fill("30")
    assert "at 99.5 hours" in curve.get_attribute("aria-label")

    page.locator("button.name", has_text="frame 9 of 200").click()
    said = page.locator("#detail-answer").inner_text()
    assert "about the share of the image that looks so, not how certain the answer is" in said
    page.get_by_label("heat map").check()
    page.get_by_label("Detail").select_option(index=2)
    page.locator("#overlay-words", has_text="How probable dead").wait_for()
    assert page.get_by_label("Opacity of the overlay").is_visible()
    screenshot(page, "serve-heat")
    page.get_by_role("button", name="Play all frames").click()
    page.locator(".viewer-number", has_text="200").wait_for()


@pytest.mark.parametrize("looks", [{"dark": True}, {"phone": True}], ids=str)
def test_the_page_is_for_everyone(
    open_page: Any, address: str, cells: list[Path], looks: dict[str, bool]
) -> None:
    page = open_page(address, **looks)
    name = next(iter(looks))
    assert serious_faults(page) == []
    screenshot(page, f"serve-empty-{name}")
    choose(page, *cells)
    wait_until_finished(page)
    page.get_by_label("what speaks for a class").check()
    page.locator("#overlay-words", has_text="Where the image speaks for").wait_for()
    assert serious_faults(page) == []
    screenshot(page, f"serve-answers-{name}")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]


def test_everything_can_be_done_by_keyboard(
    open_page: Any, address: str, cells: list[Path]
) -> None:
    page = open_page(address)
    page.evaluate(
        """document.getElementById("files").addEventListener("click", (event) => {
          event.preventDefault();
          document.title = "asked for files";
        })"""
    )
    page.get_by_role("button", name="Choose images").focus()
    page.keyboard.press("Enter")
    assert page.title() == "asked for files"
    choose(page, *cells)
    wait_until_finished(page)
    page.locator("#table tbody button.name").first.focus()
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    third = sorted(path.name for path in cells)[2]
    assert page.locator("#detail-heading").inner_text() == third
    assert page.evaluate("document.activeElement.textContent") == third
    page.locator("#next").focus()
    page.keyboard.press("Enter")
    fourth = sorted(path.name for path in cells)[3]
    page.locator("#detail-heading", has_text=fourth).wait_for()
    page.get_by_label("nothing").focus()
    page.keyboard.press("ArrowDown")
    page.locator("#overlay-words", has_text="Where the image speaks for").wait_for()


def test_of_a_folder_the_images_are_taken(
    open_page: Any, address: str, cells: list[Path], tmp_path: Path
) -> None:
    for name in ("plate/10.png", "plate/9.png", "plate/.hidden.png", "plate/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(cells[0].read_bytes())
    page = open_page(address)
    page.set_input_files("#folder", tmp_path / "plate")
    wait_until_finished(page)
    assert names(page) == ["plate/9.png", "plate/10.png"]


def test_the_model_card_is_one_click_away(open_page: Any, address: str) -> None:
    page = open_page(address)
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Model card").click()
    card = opened.value
    assert card.get_by_role("heading", level=1).count() == 1
    assert "dead" in card.locator("body").inner_text()


def test_images_that_the_server_has_forgotten_can_be_dropped_again(
    open_page: Any, address: str, cells: list[Path]
) -> None:
    page = open_page(address)
    choose(page, cells[0])
    wait_until_finished(page)
    job = page.get_by_role("link", name="Download as CSV").get_attribute("href")
    assert page.request.delete(f"{address}{job.removesuffix('/answers.csv')}").status == 204
    choose(page, cells[1])
    page.locator("#problems", has_text="drop them again").wait_for()
    choose(page, cells[2])
    page.locator("button.name", has_text=cells[2].name).wait_for()
    assert names(page) == [cells[2].name]


def test_a_name_that_is_dropped_is_no_markup(open_page: Any, address: str) -> None:
    page = open_page(address)
    hostile = "<img src=x onerror=alert(1)>.png"
    page.evaluate(
        """async (name) => {
          const canvas = Object.assign(document.createElement("canvas"), { width: 30, height: 24 });
          canvas.getContext("2d").fillRect(3, 3, 9, 9);
          const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg"));
          const data = new DataTransfer();
          data.items.add(new File([blob], name, { type: "image/jpeg" }));
          document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
        }""",
        hostile,
    )
    wait_until_finished(page)
    assert names(page) == [hostile]
    assert page.locator("main img[src=x]").count() == 0


def test_what_was_dropped_is_gone_when_the_page_is_left(
    open_page: Any, address: str, cells: list[Path]
) -> None:
    page = open_page(address)
    choose(page, cells[0])
    wait_until_finished(page)
    csv_url = page.get_by_role("link", name="Download as CSV").get_attribute("href")
    other = page.context.new_page()
    other.goto(address)
    assert other.request.get(f"{address}{csv_url}").status == 200
    page.get_by_role("button", name="Remove all images").click()
    page.locator("#results").wait_for(state="hidden")
    assert other.request.get(f"{address}{csv_url}").status == 404
    choose(page, cells[1])
    wait_until_finished(page)
    csv_url = page.get_by_role("link", name="Download as CSV").get_attribute("href")
    with other.expect_response(lambda answer: answer.status == 404):
        page.goto("about:blank")
        other.evaluate(
            """async (url) => { while ((await fetch(url)).ok)
              await new Promise((resolve) => setTimeout(resolve, 50)); }""",
            csv_url,
        )
