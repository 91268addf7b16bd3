"""The panel's pages as people use them: in a browser, by keyboard and by mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from browser import running, screenshot, serious_faults
from panel_pages import added, press, ready

from deadlib.panel import Panel
from deadlib.panel.site import create_site

Make = Callable[..., Panel]
Open = Callable[..., Any]


@pytest.fixture
def address_of() -> Iterator[Callable[[Panel], str]]:
    """Where a panel's site answers."""
    with ExitStack() as sites:
        yield lambda panel: sites.enter_context(running(create_site(panel)))


def test_undo_by_key_brings_the_item_back(
    make_panel: Make, address_of: Callable[[Panel], str], open_page: Open
) -> None:
    panel = make_panel(3)
    page = open_page(f"{address_of(panel)}/a/{panel.add_annotator('Ana')}")
    ready(page)
    assert page.locator("#undo").is_disabled()
    press(page, "2")
    press(page, "Backspace")
    assert page.locator("#undo").is_disabled()
    press(page, "1")
    assert panel.responses()["response"].tolist() == ["healthy"]
    assert panel.log()["withdrawn"].tolist() == [True, False]


def test_two_tabs_of_one_annotator_count_each_item_once(
    make_panel: Make, address_of: Callable[[Panel], str], open_page: Open
) -> None:
    panel = make_panel(4)
    address = address_of(panel)
    one = open_page(f"{address}/a/{panel.add_annotator('Ana')}")
    ready(one)
    other = one.context.new_page()
    other.goto(address)
    ready(other)
    press(one, "1")
    press(other, "2")
    assert "already" in other.locator("#notice").text_content()
    press(other, "2")
    assert panel.responses()["response"].tolist() == ["healthy", "sick"]
    assert not panel.log()["withdrawn"].any()


def test_a_lost_connection_is_told_and_loses_no_answer(
    make_panel: Make, address_of: Callable[[Panel], str], open_page: Open
) -> None:
    panel = make_panel(4)
    page = open_page(f"{address_of(panel)}/a/{panel.add_annotator('Ana')}")
    ready(page)
    page.wait_for_timeout(200)
    page.context.set_offline(True)
    page.keyboard.press("1")
    page.wait_for_selector("#notice:not([hidden])")
    assert "cannot be reached" in page.locator("#notice").text_content()
    page.keyboard.press("2")
    assert panel.log().empty
    page.context.set_offline(False)
    page.wait_for_selector("#notice", state="hidden")
    ready(page)
    assert panel.log()["response"].tolist() == ["healthy"]


def test_a_folder_that_comes_back_is_waited_for(
    make_panel: Make, address_of: Callable[[Panel], str], open_page: Open
) -> None:
    panel = make_panel(3)
    images, away = panel.project.source, panel.project.source.with_name("away")
    images.rename(away)
    page = open_page(f"{address_of(panel)}/a/{panel.add_annotator('Ana')}")
    page.wait_for_selector("#notice:not([hidden])")
    assert "images cannot be reached" in page.locator("#notice").text_content()
    away.rename(images)
    press(page, "1")
    assert len(panel.log()) == 1


def test_a_key_held_down_answers_once(
    make_panel: Make, address_of: Callable[[Panel], str], open_page: Open
) -> None:
    panel = make_panel(6)
    page = open_page(f"{address_of(panel)}/a/{panel.add_annotator('Ana')}")
    ready(page)
    page.wait_for_timeout(200)
    for _ in range(4):
        page.keyboard.down("1")
        page.wait_for_timeout(200)
    page.keyboard.up("1")
    ready(page)
    assert len(panel.log()) == 1


def test_a_trial_teaches_in_the_middle(
    make_panel: Make, address_of: Callable[[Panel], str], open_page: Open
) -> None:
    from tfrecords_tools.settings import ConversionSettings

    parts = {"before": 1, "shown": 2, "after": 1}
    panel = make_panel(4, mode="trial", trial=parts, conversion=ConversionSettings())
    page = open_page(f"{address_of(panel)}/a/{panel.add_annotator('Ana')}")
    ready(page)
    assert not page.locator("#truth").is_visible()
    press(page, "1")
    for _ in range(2):
        assert page.locator("#truth b").text_content() in ("dead", "living")
        assert page.locator("button.choice:visible").count() == 1
        screenshot(page, "panel_trial")
        press(page, "Enter")
    assert not page.locator("#truth").is_visible()
    press(page, "2")
    assert page.locator("#done").is_visible()


def test_the_administrator_adds_people_and_decides(
    make_panel: Make, address_of: Callable[[Panel], str], open_page: Open
) -> None:
    panel = make_panel(2, assignment="everyone")
    address = address_of(panel)
    administrator = open_page(f"{address}/admin/{panel.admin_token()}")
    for name, key in (("Ana", "1"), ("Ben", "2")):
        link = added(administrator, name)
        annotator = open_page(link)
        ready(annotator)
        press(annotator, key)
        press(annotator, key)
    screenshot(administrator, "panel_administration")
    assert serious_faults(administrator) == []
    administrator.get_by_role("link", name="Adjudication").first.click()
    ready(administrator)
    administrator.get_by_label("Decided by").fill("Cleo")
    administrator.keyboard.press("Enter")
    ready(administrator)
    screenshot(administrator, "panel_adjudication")
    assert serious_faults(administrator) == []
    press(administrator, "1")
    press(administrator, "2")
    assert administrator.locator("#done").is_visible()
    assert sorted(panel.adjudications()["label"]) == ["healthy", "sick"]
    assert set(panel.adjudications()["by"]) == {"Cleo"}


def test_on_a_phone_the_administrators_buttons_are_one_line_high(
    make_panel: Make, address_of: Callable[[Panel], str], open_page: Open
) -> None:
    panel = make_panel(2)
    panel.add_annotator("Ana")
    page = open_page(f"{address_of(panel)}/admin/{panel.admin_token()}", phone=True)
    box = page.get_by_role("button", name="Remove the access of Ana").bounding_box()
    assert box["width"] > box["height"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_page_of_the_annotator_has_a_serious_fault(
    make_panel: Make, address_of: Callable[[Panel], str], open_page: Open, dark: bool
) -> None:
    panel = make_panel(3)
    address = address_of(panel)
    page = open_page(f"{address}/a/{panel.add_annotator('Ana')}", dark=dark, phone=dark)
    ready(page)
    screenshot(page, f"panel_{'phone_dark' if dark else 'light'}")
    assert serious_faults(page) == []
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]
    assert serious_faults(open_page(address, dark=dark)) == []
    for _ in range(3):
        press(page, "1")
    assert serious_faults(page) == []


def test_keys_and_buttons_are_one(
    make_panel: Make, address_of: Callable[[Panel], str], open_page: Open
) -> None:
    panel = make_panel(4, classes=["alive", "ÜBEL <b>"])
    keys = {"classes": {"alive": "a", "ÜBEL <b>": "u"}, "unsure": "x"}
    panel.project.settings = panel.project.settings.model_copy(update=keys)
    page = open_page(f"{address_of(panel)}/a/{panel.add_annotator('<i>Ana</i>')}")
    ready(page)
    assert page.locator(".who").text_content() == "<i>Ana</i>"
    page.keyboard.press("?")
    assert "Answer: ÜBEL <b>" in page.locator("dialog[open]").text_content()
    page.keyboard.press("u")
    page.keyboard.press("Escape")
    assert panel.log().empty
    page.wait_for_timeout(200)
    page.get_by_role("button", name="ÜBEL <b>").click()
    page.wait_for_selector("#count:has-text('1 answered by you')")
    ready(page)
    press(page, "X")
    assert panel.log()["response"].tolist() == ["ÜBEL <b>", "unsure"]
