"""The viewer in a browser: what stands on the screen is what the microscope wrote."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pytest
from browser import Open, people, running, screenshot, serious_faults
from fastapi import Response
from viewer_page import drawn, show, viewer_app

WHITE, BLACK = [255, 255, 255], [0, 0, 0]
SENT = {"X-Shape": "1,8,8", "X-Dtype": "uint16"}
STATUS = ".viewer-status"
CHANNELS = [{"name": "DNA", "colour": "blue"}, {"name": "actin", "colour": "#ff0000"}]


def steps(dtype: str) -> np.ndarray:
    """8 x 8 values that lie apart, (H, W, 1)."""
    image = np.arange(64, dtype=np.float64).reshape(8, 8, 1)
    return (image * {"uint8": 4, "uint16": 1000, "float32": 0.01}[dtype]).astype(dtype)


def two_channels() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 4000, (40, 60, 2)).astype(np.uint16)


def seven_channels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 65536, (16, 16, 7)).astype(np.uint16)


class Server:
    """Images by name; what was asked for, in its order; a gate that the slow one waits at."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.gate = threading.Event()
        self.images = {
            **{
                dtype: lambda _, dtype=dtype: steps(dtype)
                for dtype in ("uint8", "uint16", "float32")
            },
            "two": lambda _: two_channels(),
            "seven": lambda _: seven_channels(),
            "full": lambda _: np.full((8, 8, 5), 255, np.uint8),
            "constant": lambda _: np.full((8, 8, 1), 7, np.uint16),
            "nothing": lambda _: np.full((8, 8, 1), np.nan, np.float32),
            "lapse": lambda frame: np.full((8, 8, 1), 40 * frame, np.uint8),
            "slow": lambda frame: self.gate.wait(60) and steps("uint8"),
            "cut": lambda _: Response(bytes(99), headers=SENT),
            "odd": lambda _: Response(
                "<script>", headers={"X-Shape": "1,-8,-8", "X-Dtype": "toString"}
            ),
        }
        self.app = viewer_app({name: self._noted(name) for name in self.images})

    def _noted(self, name: str) -> Any:
        def answer(frame: int) -> Any:
            self.asked.append((name, frame))
            return self.images[name](frame)

        return answer


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


@pytest.fixture(scope="module")
def address(server: Server) -> Iterator[str]:
    with running(server.app) as url:
        yield url
        server.gate.set()


@pytest.fixture(scope="module")
def tab(chromium: Any) -> Iterator[Any]:
    """One for all tests that need no other kind of screen."""
    with people(chromium) as open_it:
        yield open_it("", width=640, height=400)


@pytest.fixture
def page(tab: Any, address: str) -> Any:
    """The viewer in a browser that remembers nothing."""
    if tab.url.startswith(address):
        tab.evaluate("localStorage.clear()")
    return started(tab, address)


def started(page: Any, address: str) -> Any:
    page.goto(address)
    page.wait_for_function("() => window.viewer")
    return page


def module(page: Any, name: str, body: str, argument: Any = None) -> Any:
    """What a function of a module of the viewer gives: `body` is JavaScript that knows `it`."""
    script = f"async (given) => {{ const it = await import('/static/{name}.js'); {body} }}"
    return page.evaluate(script, argument)


def adjust(page: Any) -> None:
    page.get_by_role("button", name="Adjust contrast").click()


def pixels(page: Any, height: int, width: int) -> np.ndarray:
    """The middle of each of the image's pixels on the screen, (height, width, 3) int."""
    canvas = drawn(page)
    scale = min(canvas.shape[0] / height, canvas.shape[1] / width)
    top, left = (canvas.shape[0] - scale * height) / 2, (canvas.shape[1] - scale * width) / 2
    rows = (top + scale * (np.arange(height) + 0.5)).astype(int)
    columns = (left + scale * (np.arange(width) + 0.5)).astype(int)
    return canvas[np.ix_(rows, columns)][..., :3].astype(int)


def expected(image: np.ndarray, windows: Any, gamma: float, colours: Any) -> np.ndarray:
    """Channels of (H, W, C) added up in their colours, (H, W, 3), by the definition alone."""
    low, high = np.array(windows, float).T
    light = np.clip((image - low) / (high - low), 0, 1) ** gamma
    return np.minimum(light @ np.array(colours, float), 255)


# values


def test_quantiles_are_those_of_numpy(page: Any) -> None:
    values = np.random.default_rng(3).integers(0, 250, 999)
    shares = [0.0, 0.001, 0.5, 0.999, 1.0]
    for kind in ("Uint8Array", "Uint16Array", "Float32Array"):
        body = f"return it.quantiles({kind}.from(given[0]), given[1]);"
        found = module(page, "tone", body, [values.tolist(), shares])
        assert found == np.quantile(values, shares, method="inverted_cdf").tolist()
    body = "return it.quantiles(Float32Array.from([NaN, 3, Infinity, 1]), [0, 1]);"
    assert module(page, "tone", body) == [1, 3], "what is no number counts for nothing"


def test_seven_channels_add_up_in_their_colours(page: Any) -> None:
    colours = [
        [0, 0, 255],
        [255, 0, 0],
        [0, 255, 0],
        [90, 10, 200],
        [255, 255, 255],
        [9, 9, 9],
        [0, 99, 0],
    ]
    windows = [[100 * i, 65535 - 5000 * i] for i in range(7)]
    hexes = ["#" + bytes(colour).hex() for colour in colours]
    settings = {
        "gamma": 0.7,
        "channels": {
            f"c{i}": {"colour": hexes[i], "window": {"dtype": "uint16", "low": low, "high": high}}
            for i, (low, high) in enumerate(windows)
        },
    }
    page.evaluate("(settings) => viewer.apply(settings)", settings)
    assert show(page, "seven", channels=[{"name": f"c{i}"} for i in range(7)])
    difference = pixels(page, 16, 16) - expected(seven_channels(), windows, 0.7, colours)
    # each channel's share is rounded to a step of the screen
    assert np.abs(difference).max() <= 4


def test_more_light_than_there_is_stays_white(page: Any) -> None:
    white = [{"name": str(number), "colour": "white"} for number in range(5)]
    assert show(page, "full", channels=white)
    assert (pixels(page, 8, 8) == 255).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_darkest_is_black_and_the_brightest_white(page: Any, dtype: str) -> None:
    assert show(page, dtype)
    page.evaluate("viewer.channel(0, {window: 'auto'})")
    found = pixels(page, 8, 8)
    assert found[0, 0].tolist() == BLACK
    assert found[7, 7].tolist() == WHITE
    assert (np.diff(found[..., 0].ravel()) > 0).all()


def test_neighbours_among_16_bit_values_can_be_told_apart(page: Any) -> None:
    show(page, "uint16")
    page.evaluate("viewer.channel(0, {window: {dtype: 'uint16', low: 41990, high: 42010}})")
    level = pixels(page, 8, 8)[5, 2, 0]
    assert level == 128
    page.evaluate("viewer.edge(0, 0, 41991)")
    assert pixels(page, 8, 8)[5, 2, 0] == round(255 * 9 / 19)


def test_8_bit_is_shown_as_it_is_stored(page: Any) -> None:
    show(page, "uint8")
    np.testing.assert_array_equal(pixels(page, 8, 8)[..., 0], steps("uint8")[..., 0])


@pytest.mark.parametrize("name", ["constant", "nothing"])
def test_an_image_without_contrast_is_black(page: Any, name: str) -> None:
    assert show(page, name)
    assert not pixels(page, 8, 8).any()


def test_the_values_under_the_pointer_are_the_stored_ones(page: Any) -> None:
    show(page, "two", channels=CHANNELS)
    box = page.locator(".viewer-stage canvas").bounding_box()
    # half a pixel of the image off its corner, as the whole image lies on the stage
    scale = box["height"] / 40
    page.mouse.move(box["x"] + box["width"] / 2 + 0.5 * scale, box["y"] + 10.5 * scale)
    dna, actin = two_channels()[10, 30]
    page.get_by_text(f"x 30, y 10: DNA {dna}, actin {actin}").wait_for()
    page.mouse.move(1, 1)
    page.get_by_text("x 30").wait_for(state="hidden")


def test_a_channel_is_switched_off_and_coloured_anew(page: Any) -> None:
    show(page, "two", channels=CHANNELS)
    adjust(page)
    page.get_by_role("checkbox", name="DNA").uncheck()
    found = pixels(page, 40, 60)
    assert found[..., 0].any()
    assert not found[..., 1:].any()
    page.get_by_label("actin: colour").fill("#00ff00")
    found = pixels(page, 40, 60)
    assert found[..., 1].any()
    assert not found[..., ::2].any()


def test_contrast_is_set_by_number_and_slider(page: Any) -> None:
    show(page, "uint16")
    adjust(page)
    page.get_by_label("channel 1: brightest value, as a number").fill("62999")
    page.keyboard.press("Tab")
    page.get_by_label("channel 1: darkest value, as a number").fill("63000")
    page.keyboard.press("Enter")
    found = pixels(page, 8, 8)[..., 0]
    assert (np.count_nonzero(found), found.max()) == (0, 0)
    assert page.get_by_label("channel 1: brightest value, as a number").input_value() == "63001"
    slider = page.get_by_label("channel 1: darkest value", exact=True)
    slider.press("Home")
    assert np.count_nonzero(pixels(page, 8, 8)[..., 0]) == 63
    page.get_by_label("channel 1: full range").click()
    assert pixels(page, 8, 8)[7, 7, 0] == round(255 * 63000 / 65535)


# place


def test_dense_screens_get_all_their_pixels(open_page: Open, address: str) -> None:
    page = started(open_page("", scale=2), address)
    show(page, "uint8")
    canvas = drawn(page)
    box = page.locator(".viewer-stage canvas").bounding_box()
    assert canvas.shape[:2] == (round(2 * box["height"]), round(2 * box["width"]))
    # no colour between two pixels of the image: the edges are sharp
    assert set(np.unique(canvas[..., 0])) == set(np.unique(steps("uint8")))


def test_keys_wheel_and_buttons_zoom_and_move(page: Any) -> None:
    show(page, "uint8")
    assert "zoom 2800 %" in page.inner_text(STATUS)
    page.keyboard.press("/")
    assert "zoom 100 %" in page.inner_text(STATUS)
    page.get_by_role("button", name="Closer").click()
    assert "zoom 125 %" in page.inner_text(STATUS)
    page.keyboard.press("*")
    whole = drawn(page)
    canvas = page.locator(".viewer-stage canvas")
    canvas.hover(position={"x": 5, "y": 5})
    for _ in range(4):
        page.mouse.wheel(0, -300)
    page.get_by_text("zoom 22400 %").wait_for()
    page.keyboard.press("Shift+ArrowLeft")
    corner = drawn(page)
    assert len(np.unique(corner[..., 0])) < len(np.unique(whole[..., 0])) / 4
    for _ in range(40):
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Shift+ArrowDown")
    assert steps("uint8").max() in drawn(page)[..., 0]
    page.keyboard.press("*")
    np.testing.assert_array_equal(drawn(page), whole)


def test_two_fingers_zoom_and_one_moves(open_page: Open, address: str) -> None:
    page = started(open_page("", phone=True), address)
    show(page, "uint8")
    box = page.locator(".viewer-stage canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = page.context.new_cdp_session(page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": left, "y": top, "id": number} for number, (left, top) in enumerate(places)]
        fingers.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})

    touch("Start", (x, y), (x + 20, y))
    touch("Move", (x, y), (x + 40, y))
    touch("Move", (x, y), (x + 80, y))
    touch("End")
    zoom = page.evaluate("viewer.settings().zoom")
    assert zoom["scale"] == pytest.approx(4 * box["width"] / 8, rel=0.1)
    touch("Start", (x, y))
    touch("Move", (x + 50, y))
    touch("Move", (x + 100, y))
    touch("End")
    moved = page.evaluate("viewer.settings().zoom.x")
    assert moved == pytest.approx(zoom["x"] - 100 / (8 * zoom["scale"]), abs=0.02)


def test_the_place_below_the_pointer_stays_there(page: Any) -> None:
    body = """
        const image = { width: 300, height: 200 }, stage = { width: 900, height: 700 };
        let view = it.fitted(image, stage);
        view = it.zoomed(view, 4, image, stage, 450, 350);
        const before = it.placeAt(view, stage, 300, 200);
        view = it.zoomed(view, 1.7, image, stage, 300, 200);
        return [before, it.placeAt(view, stage, 300, 200)];"""
    before, after = module(page, "view", body)
    np.testing.assert_allclose(after, before)


# sequences


def turned(page: Any, number: str) -> None:
    """Wait until it shows a frame, such as "2 of 5"."""
    page.locator(".viewer-number").get_by_text(re.compile(rf"^{number}$")).wait_for()


def test_a_sequence_is_loaded_in_order_and_loops(page: Any, server: Server) -> None:
    server.asked.clear()
    assert show(page, "lapse", 5, interval_ms=200)
    turned(page, "5 of 5")
    turned(page, "1 of 5")
    assert server.asked == [("lapse", frame) for frame in range(5)]


def test_a_sequence_is_scrubbed_by_keys(page: Any) -> None:
    show(page, "lapse", 5, interval_ms=1e6)
    page.keyboard.press(".")
    turned(page, "2 of 5")
    assert page.get_by_role("button", name="Play").is_visible()
    assert pixels(page, 8, 8)[0, 0, 0] == 40
    page.keyboard.press("ArrowLeft")
    page.keyboard.press(",")
    turned(page, "5 of 5")
    assert pixels(page, 8, 8)[0, 0, 0] == 160
    page.get_by_label("Frame", exact=True).press("ArrowLeft")
    turned(page, "4 of 5")
    adjust(page)
    page.get_by_label("Frames per second").fill("")
    page.keyboard.press("Enter")
    assert page.evaluate("viewer.settings().speed") is None
    page.get_by_label("Frames per second").fill("50")
    page.locator(".viewer-stage canvas").focus()
    page.keyboard.press("Space")
    turned(page, "1 of 5")


def test_nothing_moves_where_less_motion_is_asked_for(open_page: Open, address: str) -> None:
    page = started(open_page("", reduced_motion=True), address)
    show(page, "lapse", 3, interval_ms=1)
    assert page.get_by_role("button", name="Play").is_visible()


def test_memory_for_frames_is_bounded(page: Any) -> None:
    body = """
        const url = (frame) => `/image/lapse/${frame}`;
        const frames = new it.Frames({ frames: 6, url }, 3 * 64);
        await frames.loadAll();
        const begun = frames._kept.size;
        for (const frame of [0, 5, 2, 4]) await frames.get(frame);
        return [begun, [...frames._kept.keys()], frames._bytes];"""
    assert module(page, "frames", body) == [3, [5, 2, 4], 3 * 64]


# items


def test_the_next_item_ends_the_loading_of_the_one_before(page: Any, server: Server) -> None:
    server.gate.clear()
    page.evaluate("""() => {
        window.first = viewer.show({ frames: 1, url: () => "/image/slow/0" });
    }""")
    assert "Loading" in page.inner_text(STATUS)
    assert show(page, "uint8")
    late = "new Promise((done) => setTimeout(() => done('late'), 20_000))"
    assert page.evaluate(f"Promise.race([first, {late}])") is False
    server.gate.set()
    assert page.evaluate("viewer.fault") is None
    np.testing.assert_array_equal(pixels(page, 8, 8)[..., 0], steps("uint8")[..., 0])


def test_of_two_items_at_once_the_later_one_is_shown(page: Any, server: Server) -> None:
    shown = page.evaluate("""async () => {
        const [first, second] = ["uint8", "uint16"].map((name) => ({
            frames: 1, url: () => `/image/${name}/0` }));
        viewer.prepare(first);
        await viewer._prepared.frames.get(0);
        return Promise.all([viewer.show(first), viewer.show(second)]);
    }""")
    assert shown == [False, True]
    assert "16 bit" in page.inner_text(STATUS)


def test_a_prepared_item_is_not_asked_for_again(page: Any, server: Server) -> None:
    server.asked.clear()
    page.evaluate("viewer.prepare({ frames: 1, url: (frame) => `/image/uint8/${frame}` })")
    assert show(page, "uint8")
    assert show(page, "uint16")
    assert server.asked == [("uint8", 0), ("uint16", 0)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone", "the image gone is gone"),
        ("cut", "did not arrive whole"),
        ("odd", "did not arrive"),
    ],
)
def test_a_broken_image_is_told_and_the_next_is_shown(page: Any, name: str, words: str) -> None:
    assert not show(page, name)
    assert words in page.get_by_role("alert").inner_text()
    assert words in page.evaluate("viewer.fault.message")
    assert "Loading" not in page.inner_text(STATUS)
    assert show(page, "uint8")
    assert page.get_by_role("alert").count() == 0
    assert page.evaluate("viewer.fault") is None


def test_a_lost_connection_is_told_and_tried_again(page: Any) -> None:
    page.context.set_offline(True)
    assert not show(page, "uint8")
    assert "cannot be reached" in page.get_by_role("alert").inner_text()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("8 × 8 px").wait_for()
    assert page.get_by_role("alert").count() == 0


def test_settings_hold_for_the_next_item_and_the_next_visit(page: Any, address: str) -> None:
    show(page, "two", channels=CHANNELS)
    for key in ("[", "[", "/"):
        page.keyboard.press(key)
    page.evaluate("viewer.channel(1, {on: false})")
    kept = page.evaluate("viewer.settings()")
    assert kept["gamma"] == pytest.approx(0.8)
    started(page, address)
    show(page, "two", channels=CHANNELS)
    assert page.evaluate("viewer.settings()")["channels"]["actin"]["on"] is False
    assert "zoom 100 %" in page.inner_text(STATUS)
    assert page.evaluate("viewer.settings()")["gamma"] == pytest.approx(0.8)


def test_settings_that_do_not_fit_are_left_out(page: Any) -> None:
    assert show(page, "two", channels=CHANNELS)
    at_first = page.evaluate("viewer.settings()")
    wrong = '{"gamma": "x", "opacity": 7, "zoom": {"scale": -1, "x": 0, "y": 0}, "other": 1}'
    for stored in ("{", "null", "[1]", wrong):
        page.evaluate("(text) => localStorage.setItem('viewer test', text)", stored)
        found = module(page, "settings", "return it.remembered('test');")
        assert found == at_first, stored
    page.evaluate("viewer.apply({ channels: { DNA: 3, actin: { colour: 'no', window: [] } } })")
    assert pixels(page, 40, 60).any()


# heat


def test_heat_lies_over_the_image_and_what_is_unknown_is_clear(page: Any) -> None:
    show(page, "uint8")
    page.evaluate("""viewer.overlay({ values: Float32Array.from([0, 1, NaN, 2]), width: 2,
        height: 2, low: 0, high: 1, name: "Evidence for dead", smooth: false })""")
    page.evaluate("viewer.opacity(1)")
    found = pixels(page, 8, 8)
    heat = (np.array(matplotlib.colormaps["viridis"]([0.0, 1.0]))[:, :3] * 255).round()
    np.testing.assert_allclose(found[0, 0], heat[0], atol=1)
    np.testing.assert_allclose(found[0, 7], heat[1], atol=1)
    np.testing.assert_allclose(found[7, 7], heat[1], atol=1)
    assert found[7, 0, 0] == steps("uint8")[7, 0, 0]
    page.get_by_label("Opacity of the overlay").press("Home")
    np.testing.assert_array_equal(pixels(page, 8, 8)[..., 0], steps("uint8")[..., 0])
    page.evaluate("viewer.overlay(null)")
    assert not page.get_by_label("Opacity of the overlay").is_visible()


def test_the_colours_of_heat_are_viridis(page: Any) -> None:
    shares = np.linspace(0, 1, 101)
    found = module(page, "colours", "return given.map(it.heatColour);", shares.tolist())
    true = np.array(matplotlib.colormaps["viridis"](shares))[:, :3] * 255
    assert np.abs(np.array(found) - true).max() < 8


# people


@pytest.mark.parametrize(("dark", "phone"), [(False, False), (True, True)])
def test_everyone_can_use_it(open_page: Open, address: str, dark: bool, phone: bool) -> None:
    page = started(open_page("", dark=dark, phone=phone), address)
    show(page, "lapse", 5, interval_ms=1e6)
    page.evaluate(
        "viewer.overlay({values: Float32Array.from([0, 1]), width: 2, height: 1, low: 0, high: 1})"
    )
    adjust(page)
    screenshot(page, f"viewer-{'dark' if dark else 'light'}-{'phone' if phone else 'wide'}")
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_help_names_the_pages_keys_and_keeps_presses_to_itself(page: Any) -> None:
    show(page, "lapse", 5, interval_ms=1e6)
    page.evaluate("document.addEventListener('keydown', (event) => { window.heard = event.key; })")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    assert "Healthy" in dialog.inner_text()
    page.keyboard.press("1")
    page.keyboard.press(".")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("window.heard") == "?"
    assert page.inner_text(".viewer-number").startswith("1 of")


def test_keys_belong_to_the_field_that_is_written_in(page: Any) -> None:
    show(page, "lapse", 5, interval_ms=1e6)
    page.evaluate("document.body.append(document.createElement('input'))")
    page.locator("body > input").focus()
    page.keyboard.type("1.5+")
    assert page.locator("body > input").input_value() == "1.5+"
    assert page.inner_text(".viewer-number").startswith("1 of")


def test_after_its_end_nothing_is_left(page: Any) -> None:
    show(page, "lapse", 5)
    page.evaluate("viewer.destroy()")
    page.keyboard.press("?")
    assert page.locator("#viewer *").count() == 0
