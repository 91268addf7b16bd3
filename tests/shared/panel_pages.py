"""What a person does on the panel's pages, in a browser."""

from __future__ import annotations

from typing import Any

_BOUNCE_MS = 160
"""A press sooner after an item appeared is taken for one that was meant for the item before."""


def ready(page: Any) -> None:
    """Wait until an item can be answered, or all is done."""
    page.wait_for_selector("#work[aria-busy=false], #done:not([hidden])")


def press(page: Any, *keys: str) -> None:
    """Press keys, waiting for the next item after each."""
    for key in keys:
        ready(page)
        page.wait_for_timeout(_BOUNCE_MS)
        before = page.locator("#count").text_content()
        page.keyboard.press(key)
        changed = "before => document.getElementById('count').textContent !== before"
        page.wait_for_function(changed, arg=before)
        ready(page)


def added(administrator: Any, name: str) -> str:
    """Add an annotator on the administrator's page; their link."""
    administrator.get_by_label("Name of a new annotator").fill(name)
    administrator.keyboard.press("Enter")
    # else the link of whoever was added before may still stand there
    administrator.locator(".good b", has_text=name).wait_for()
    return str(administrator.locator(".link").text_content())
