"""What a panel said becomes a dataset: export, then convert."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from picture_folder import write_pictures
from PIL import Image

from deadlib.errors import PanelError
from deadlib.panel import Panel, Project, create
from deadlib.panel.export import export_log, export_table
from tfrecords_tools import ConversionSettings, convert
from tfrecords_tools.annotations import judged, read_annotations
from tfrecords_tools.plan import make_plan

CLASSES = ("Healthy", "Sick")


def new_panel(folder: Path, source: Path, **how: object) -> Panel:
    return Panel(create(folder, source, **how))


def answer_by(panel: Panel, name: str, said: dict[str, str], count: int | None = None) -> None:
    """Answers of one annotator to whatever they are served, by item."""
    while (serving := panel.current(name)) and count != 0:
        panel.answer(name, serving.id, said[item_of(panel, name, serving.id)], 1.5)
        count = None if count is None else count - 1


def item_of(panel: Panel, name: str, serving: str) -> str:
    """The item behind a serving, which nothing public tells before it is answered."""
    with panel._reading():
        _, slot = panel._slot(name, serving)
    return panel.project.names[slot.item]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("export"), 12)


def truth(panel: Panel) -> dict[str, str]:
    return {name: CLASSES["living" not in name] for name in panel.project.names}


def test_what_all_agree_on_becomes_a_dataset(pictures: Path, tmp_path: Path) -> None:
    panel = new_panel(tmp_path / "panel", pictures, assignment="everyone", classes=CLASSES)
    right = truth(panel)
    disputed, doubted, *_ = sorted(right)
    said = {"ann": right, "bob": right | {disputed: "Healthy", doubted: "unsure"}}
    for name, answers in said.items():
        panel.add_annotator(name)
        answer_by(panel, name, answers)
    log = export_log(panel, tmp_path / "log.csv")
    assert len(log) == 24
    kept = ConversionSettings(
        labels="annotations", annotations=str(tmp_path / "log.csv"), find_similar=False
    )
    examples = make_plan(pictures, kept).examples
    labels = dict(zip(examples["example_id"], examples["label"], strict=True))
    # the published answers are written small
    expected = {name: label.lower() for name, label in right.items()}
    assert labels == {k: v for k, v in expected.items() if k not in (disputed, doubted)}
    panel.adjudicate(disputed, "Sick", by="zoe")
    panel.adjudicate(doubted, "unsure", by="zoe")
    export_log(panel, tmp_path / "log.csv")
    examples = make_plan(pictures, kept).examples
    assert disputed in set(examples["example_id"])
    assert doubted not in set(examples["example_id"])
    panel.close()


def test_what_was_decided_and_then_taken_back_does_not_spoil_the_log(
    pictures: Path, tmp_path: Path
) -> None:
    panel = new_panel(tmp_path / "panel", pictures)
    panel.add_annotator("ann")
    answer_by(panel, "ann", dict.fromkeys(truth(panel), "sick"), count=1)
    answer_by(panel, "ann", dict.fromkeys(truth(panel), "unsure"), count=1)
    last = panel.log()["item"].iloc[-1]
    panel.adjudicate(last, "sick", by="zoe")
    panel.undo("ann")
    export_log(panel, tmp_path / "log.csv")
    assert len(read_annotations(tmp_path / "log.csv")) == 1
    panel.close()


def test_a_class_that_was_answered_once_is_no_slip(pictures: Path, tmp_path: Path) -> None:
    classes = ("necrosis", "necroptosis")
    panel = new_panel(tmp_path / "panel", pictures, classes=classes)
    panel.add_annotator("ann")
    items = panel.project.names
    said = dict.fromkeys(items, "necrosis") | {items[0]: "necroptosis"}
    answer_by(panel, "ann", said)
    export_log(panel, tmp_path / "log.csv")
    found = read_annotations(tmp_path / "log.csv").set_index("item")["response"]
    assert found.to_dict() == said
    panel.close()


def test_an_export_has_all_that_happened_and_counts_what_stands(
    pictures: Path, tmp_path: Path
) -> None:
    panel = new_panel(tmp_path / "panel", pictures, classes=CLASSES, repeat_every=3, repeat_after=2)
    panel.add_annotator("ann")
    right = truth(panel)
    answer_by(panel, "ann", dict.fromkeys(right, "Sick"), count=1)
    panel.undo("ann")
    answer_by(panel, "ann", right)
    path = tmp_path / "log.csv"
    table = export_log(panel, path)
    served = Counter(table["served"])
    assert served["repeat"] > 0
    assert table["withdrawn"].sum() == 1
    found = read_annotations(path)
    of_panel = panel.responses()
    pairs = ["annotator", "item", "response"]
    same = of_panel[pairs].assign(response=of_panel["response"].str.lower())
    assert found[pairs].to_numpy().tolist() == same.to_numpy().tolist()
    panel.close()


def test_crops_of_channel_files_convert_to_the_same_crops(tmp_path: Path) -> None:
    source = tmp_path / "fields"
    source.mkdir()
    generator = np.random.default_rng(0)
    for number in range(6):
        for channel in ("DNA", "ER"):
            pixels = generator.integers(0, 999, (8, 16), dtype=np.uint16)
            Image.fromarray(pixels).save(source / f"B{number + 1:02}_{channel}.png")
    reading = {"pattern": "{well}_{channel}.png", "channels": ("DNA", "ER")}
    cut = ConversionSettings(labels="none", crop_px=8, **reading)
    panel = new_panel(tmp_path / "panel", source, conversion=cut, classes=("A", "B"))
    panel.add_annotator("ann")
    answer_by(panel, "ann", {name: "AB"[name.endswith("x8")] for name in panel.project.names})
    export_log(panel, source / "log.csv")
    plan = make_plan(source, ConversionSettings(labels="annotations", annotations="log.csv",
                                                find_similar=False, **reading))  # fmt: skip
    labels = dict(zip(plan.examples["example_id"], plan.examples["label"], strict=True))
    assert labels == {name: "AB"[name.endswith("x8")] for name in panel.project.names}
    assert set(plan.examples["left_px"]) == {0, 8}
    panel.close()


def test_sequences_convert_to_their_frames(tmp_path: Path) -> None:
    source = tmp_path / "lapse"
    source.mkdir()
    generator = np.random.default_rng(0)
    for number in range(24):
        pixels = generator.integers(0, 999, (8, 8), dtype=np.uint16)
        Image.fromarray(pixels).save(source / f"P{number // 3}_t{number % 3}.png")
    reading = {"pattern": "{position}_t{time_index}.png"}
    cut = ConversionSettings(labels="none", crop_px=8, **reading)
    panel = new_panel(tmp_path / "panel", source, conversion=cut, frames=3)
    panel.add_annotator("ann")
    names = sorted(panel.project.names)
    said = {name: ("healthy", "sick")[place % 2] for place, name in enumerate(names)}
    answer_by(panel, "ann", said)
    export_log(panel, source / "log.csv")
    plan = make_plan(source, ConversionSettings(labels="annotations", annotations="log.csv",
                                                find_similar=False, **reading))  # fmt: skip
    assert dict(zip(plan.examples["item"], plan.examples["label"], strict=True)) == said
    assert len(plan.examples) == 24
    panel.close()


@pytest.mark.parametrize("crop_px", [None, 4])
def test_examples_of_a_dataset_go_back_to_its_images(
    pictures: Path, tmp_path: Path, crop_px: int | None
) -> None:
    made = ConversionSettings(find_similar=False, crop_px=crop_px)
    dataset = convert(pictures, tmp_path / "dataset", made)
    panel = new_panel(tmp_path / "panel", dataset.folder, classes=("A", "B"))
    panel.add_annotator("ann")
    ids = dataset.manifest["example_id"]
    said = {name: "AB"["living" in name] for name in ids}
    answer_by(panel, "ann", said)
    log = tmp_path / "log.csv"
    export_log(panel, log)
    again = ConversionSettings(labels="annotations", annotations=str(log), find_similar=False)
    examples = make_plan(pictures, again).examples
    assert dict(zip(examples["example_id"], examples["label"], strict=True)) == said
    panel.close()


def test_an_empty_panel_has_no_log(pictures: Path, tmp_path: Path) -> None:
    panel = new_panel(tmp_path / "panel", pictures)
    with pytest.raises(PanelError, match="nobody has answered yet"):
        export_table(panel)
    panel.add_annotator("ann")
    answer_by(panel, "ann", dict.fromkeys(panel.project.names, "sick"), count=1)
    with pytest.raises(PanelError, match=r"give a name that ends in \.csv"):
        export_log(panel, tmp_path / "log.txt")
    panel.close()


# Each answer is a transaction on the disk: few examples, and no search for a smaller one.
@settings(max_examples=5, phases=[Phase.generate])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ann", "bob", "cy"]), st.sampled_from(["Healthy", "Sick", "unsure"])
        ),
        min_size=1,
        max_size=30,
    ),
    st.dictionaries(st.integers(0, 11), st.sampled_from(["Healthy", "Sick"]), max_size=3),
)
def test_converting_an_export_labels_what_the_rule_says(
    pictures: Path,
    tmp_path_factory: pytest.TempPathFactory,
    given_answers: list[tuple[str, str]],
    decided: dict[int, str],
) -> None:
    folder = tmp_path_factory.mktemp("any")
    project = create(folder / "panel", pictures, classes=CLASSES, assignment="everyone")
    panel = Panel(Project.open(project.folder))
    for name in ("ann", "bob", "cy"):
        panel.add_annotator(name)
    votes: dict[str, list[str]] = {}
    for name, answer in given_answers:
        serving = panel.current(name)
        if serving is None:
            continue
        votes.setdefault(item_of(panel, name, serving.id), []).append(answer.lower())
        panel.answer(name, serving.id, answer, 1.0)
    words = {project.names[number]: label.lower() for number, label in decided.items()}
    for item, label in words.items():
        panel.adjudicate(item, label.capitalize(), by="zoe")
    export_log(panel, folder / "log.csv")
    items = judged(read_annotations(folder / "log.csv"))
    found = dict(zip(items["item"], items["label"], strict=True))
    expected = {
        item: words.get(item, said[0] if len(set(said)) == 1 and said[0] != "unsure" else None)
        for item, said in votes.items()
    }
    assert found == expected
    panel.close()


def test_a_log_is_read_by_pandas_as_it_was_written(pictures: Path, tmp_path: Path) -> None:
    panel = new_panel(tmp_path / "panel", pictures)
    panel.add_annotator("ann")
    answer_by(panel, "ann", dict.fromkeys(panel.project.names, "sick"))
    table = export_log(panel, tmp_path / "log.csv")
    again = pd.read_csv(tmp_path / "log.csv")
    assert again["item"].tolist() == table["item"].tolist()
    assert again["seconds"].tolist() == [1.5] * len(table)
    panel.close()


def test_a_dataset_of_votes_is_asked_about_again(pictures: Path, tmp_path: Path) -> None:
    """The loop of active learning: annotate, convert, and annotate examples of what came of it."""
    first = new_panel(tmp_path / "first", pictures)
    first.add_annotator("ann")
    right = {name: ("healthy", "sick")["living" in name] for name in first.project.names}
    answer_by(first, "ann", right)
    export_log(first, tmp_path / "first.csv")
    first.close()
    by_votes = ConversionSettings(
        labels="annotations",
        annotations=str(tmp_path / "first.csv"),
        agreement="votes",
        find_similar=False,
    )
    dataset = convert(pictures, tmp_path / "dataset", by_votes)
    again = new_panel(tmp_path / "again", dataset.folder)
    assert set(again.project.names) == set(right)
    again.add_annotator("bob")
    answer_by(again, "bob", right)
    export_log(again, tmp_path / "again.csv")
    again.close()
    settings = ConversionSettings(
        labels="annotations", annotations=str(tmp_path / "again.csv"), find_similar=False
    )
    examples = make_plan(pictures, settings).examples
    assert dict(zip(examples["example_id"], examples["label"], strict=True)) == right
