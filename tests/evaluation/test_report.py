"""The report as files: whole, offline, and honest about what is missing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deadlib.evaluation import assess, evaluate, gallery
from deadlib.evaluation.basics import figure_names, learning
from deadlib.evaluation.gallery import display

LARGEST_BYTES = 15_000_000
WITHOUT_END = {"img", "meta", "line", "circle"}


class Page(HTMLParser):
    """What a browser would load, which images lack a description, and whether tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.without_alt, self.images, self.open, self.wrong = [], 0, 0, [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.loads += [found[name] for name in ("src", "href") if name in found]
        if tag == "img":
            self.images += 1
            self.without_alt += not found.get("alt")
        if tag not in WITHOUT_END:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in WITHOUT_END and (not self.open or self.open.pop() != tag):
            self.wrong.append(tag)


def read(report: Path) -> str:
    return report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def report(tmp_path_factory, table, write_table, full_metadata) -> Path:
    """A report with everything in it, made once and only read."""
    folder = tmp_path_factory.mktemp("report")
    path = write_table(folder / "predictions.parquet", table(), full_metadata)
    return evaluate(path, folder / "report", bootstrap=100, command="deadlib-evaluate it")


def test_the_page_is_one_file_that_opens_offline(report):
    page = Page(read(report))
    assert page.images > 5
    assert not page.without_alt
    assert all(link.startswith(("data:", "#")) for link in page.loads)
    assert not re.findall(r"url\(|@import|<script", read(report))
    assert report.stat().st_size < LARGEST_BYTES
    assert not page.wrong
    assert not page.open


def test_every_link_of_the_contents_leads_somewhere(report):
    targets = re.findall(r'href="#([^"]+)"', read(report))
    assert targets
    for target in targets:
        assert f'id="{target}"' in read(report)


def test_the_folder_holds_the_numbers_and_every_figure_twice(report):
    numbers = json.loads((report.parent / "report.json").read_text())
    drawn = {path.name for path in (report.parent / "figures").iterdir()}
    assert drawn == {f"{name}.{kind}" for name in numbers["figures"] for kind in ("png", "svg")}
    assert {"confusion", "roc", "reliability", "learning_curves", "by_plate"} <= set(
        numbers["figures"]
    )
    assert numbers["interval"]["resamples"] == 100
    assert {path.name for path in report.parent.iterdir()} == {
        "report.html",
        "report.json",
        "figures",
    }


def test_history_card_split_proof_and_commands_are_in_the_page(report):
    text = read(report)
    for part in (
        "20 groups (well), none in two splits",
        "a warning from the card",
        "broken.png",
        "deadlib-train recipe.yaml",
        "deadlib-evaluate it",
        "2.21.0",
        "Epoch 3 was kept",
    ):
        assert part in text, part


def test_no_epoch_is_marked_as_kept_where_the_table_does_not_say(table, write, metadata):
    del metadata["kept_epoch"]
    (drawn,) = learning(assess(write(table(), metadata), bootstrap=100)).drawings
    assert "was kept" not in drawn.alt


def test_the_report_says_where_over_fitting_begins(table, write, metadata):
    validation = [1.0, 0.5, 0.3, 0.2, 0.15, 0.15, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3]
    metadata["history"] = [
        {"epoch": epoch, "train_loss": 1 / epoch, "validation_example_loss": loss}
        for epoch, loss in enumerate(validation, start=1)
    ]
    metadata["kept_epoch"] = 12
    section = learning(assess(write(table(), metadata), bootstrap=100))
    begins = section.numbers["over_fitting_from_epoch"]
    assert begins in (5, 6)
    assert f"From epoch {begins:g} on (shaded) the network over-fits" in section.html
    assert "are from after that" in section.html
    metadata["history"] = metadata["history"][:5]
    section = learning(assess(write(table(), metadata), bootstrap=100))
    assert section.numbers["over_fitting_from_epoch"] is None
    assert "over-fits" not in section.html


@pytest.mark.usefixtures("no_figures")
def test_a_table_from_elsewhere_says_what_is_missing(table, write, tmp_path):
    frame = table()[["label", "probability_living", "probability_dead"]]
    text = read(evaluate(write(frame, name="theirs.csv"), tmp_path / "report", bootstrap=100))
    assert "carries no training history" in text
    assert "carries no data card and no split proof" in text
    assert "every row counts as independent" in text
    assert "No pictures: the table has no column example_id" in text


@pytest.mark.usefixtures("no_figures")
def test_text_of_the_table_cannot_become_markup(table, write, tmp_path):
    frame = table()
    frame["plate"] = frame["plate"].replace("plate0", "<script>alert(1)</script>")
    frame["example_id"] = "<b>bold</b>" + frame["example_id"]
    frame = frame.rename(columns={"plate": "<i>plate"})
    text = read(evaluate(write(frame), tmp_path / "report", bootstrap=100))
    assert "<script" not in text
    assert "<b>bold" not in text
    assert "<i>plate" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.usefixtures("no_figures")
def test_an_alarm_stands_at_the_top(table, write, tmp_path):
    frame = table()
    frame["experiment"] = frame["label"]
    text = read(evaluate(write(frame), tmp_path / "report", bootstrap=100))
    assert text.index("Experiment and label are confounded") < text.index('id="confusion"')
    assert 'role="alert"' in text


@pytest.mark.parametrize(
    "options",
    [
        {"separation": 60.0},
        {"groups": 1},
        {"groups": 2},
        {"groups": 3, "per_group": 1},
        {"classes": ("a", "b", "c"), "separation": 0.0},
        {"classes": tuple("abcdefgh"), "groups": 40},
    ],
)
def test_unusual_tables_give_a_page(table, write, tmp_path, options):
    report = evaluate(write(table(**options)), tmp_path / "report", bootstrap=100)
    page = Page(read(report))
    assert not page.wrong
    assert "nan" not in re.sub(r"data:[^\"]+", "", read(report)).lower().split()


def test_a_new_report_in_the_same_place_leaves_no_figure_of_the_old_one(table, write, tmp_path):
    out = tmp_path / "report"
    evaluate(write(table()), out, bootstrap=100)
    mine = out / "figures" / "mine.png"
    mine.write_bytes(b"")
    evaluate(write(table().drop(columns="plate")), out, bootstrap=100)
    assert not (out / "figures" / "by_plate.png").exists()
    assert (out / "figures" / "roc.png").exists()
    assert mine.exists()


def test_the_same_table_gives_the_same_bytes(table, write, tmp_path):
    path = write(table())
    first = evaluate(path, tmp_path / "report", bootstrap=100).read_bytes()
    assert evaluate(path, tmp_path / "report", bootstrap=100).read_bytes() == first


def test_columns_of_similar_names_have_figures_of_their_own():
    names = figure_names(["cell line", "cell-line", "Cell_line", "../x"])
    assert len({name.lower() for name in names.values()}) == 4
    assert names["../x"] == "by_x"


class OneColourEach:
    """A dataset whose every image is a square of its row number."""

    fingerprint = "abc"

    def __init__(self, manifest):
        self.manifest = manifest

    def read_example(self, row):
        image = np.full((32, 32, 1), 1000, np.uint16)
        image[8:24, 8:24] += row
        return image


@pytest.fixture
def dataset(monkeypatch, table):
    import tfrecords_tools

    found = OneColourEach(table())
    monkeypatch.setattr(tfrecords_tools, "open_dataset", lambda _: found, raising=False)
    return found


@pytest.mark.usefixtures("no_figures")
def test_the_worst_errors_are_the_most_confident_wrong_answers(
    table, write, metadata, tmp_path, dataset
):
    frame = table()
    report = evaluate(write(frame, metadata), tmp_path / "r", bootstrap=100, dataset=tmp_path)
    listed = json.loads((report.parent / "report.json").read_text())["errors"]["worst"]
    called = np.where(frame["probability_dead"] > 0.5, "dead", "living")
    confidence = frame[["probability_dead", "probability_living"]].max(axis=1)
    wrong = frame[called != frame["label"]].assign(confidence=confidence)
    expected = wrong.sort_values("confidence", ascending=False)["example_id"].head(24)
    assert [answer["example_id"] for answer in listed] == list(expected)
    text = read(report)
    assert text.count('<img src="data:image/png') == len(expected) + gallery.UNCERTAIN
    assert all(name in text for name in expected)


@pytest.mark.usefixtures("no_figures")
def test_pictures_of_another_dataset_are_not_shown(table, write, metadata, tmp_path, dataset):
    dataset.fingerprint = "other"
    path = write(table(), metadata)
    text = read(evaluate(path, tmp_path / "r", bootstrap=100, dataset=tmp_path))
    assert "its fingerprint differs" in text
    assert "data:image/png" not in text


@pytest.mark.usefixtures("no_figures")
def test_a_dataset_that_is_gone_is_no_error(table, write, metadata, tmp_path):
    metadata["dataset"] = str(tmp_path / "gone")
    text = read(evaluate(write(table(), metadata), tmp_path / "report", bootstrap=100))
    assert "No pictures: the dataset cannot be opened" in text


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_image_can_be_shown(channels, dtype):
    image = (np.random.default_rng(0).random((40, 30, channels)) * 200).astype(dtype)
    shown = display(image)
    assert shown.dtype == np.uint8
    assert shown.shape == (40, 30, 1 if channels == 1 else 3)
    assert shown.max() > 100


def test_a_flat_image_is_shown_as_flat():
    assert np.ptp(display(np.full((8, 8, 1), 7, np.uint16))) == 0


def test_figures_are_pictures(report):
    with Image.open(report.parent / "figures" / "confusion.png") as picture:
        assert min(picture.size) > 400
