"""What a panel says: real panels, from answers to a page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from picture_folder import write_pictures
from scipy import stats

from deadlib.bootstrap import Resampling
from deadlib.cli.annotate import main
from deadlib.errors import PredictionError
from deadlib.panel import Panel, Project, create
from deadlib.panel.model import agreed
from deadlib.panel.results import panel_page, with_sources
from deadlib.panel.trial import answers_in_trial, on_trial, trial_of
from tfrecords_tools import ConversionSettings, convert

QUICK = Resampling(100, 0)
CLASSES = ("dead", "living")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), 20, 3)


@pytest.fixture
def opened(pictures: Path, tmp_path: Path) -> Iterator[Callable[..., Panel]]:
    panels: list[Panel] = []

    def open_panel(**settings: object) -> Panel:
        folders = ConversionSettings(labels="folder")
        create(tmp_path / "project", pictures, conversion=folders, classes=CLASSES, **settings)
        panels.append(Panel(Project.open(tmp_path / "project")))
        return panels[-1]

    yield open_panel
    for panel in panels:
        panel.close()


def ask(panel: Panel, name: str, respond: Callable[[str], str]) -> None:
    """Answer all there is; respond: from the name of an item to an answer."""
    panel.add_annotator(name)
    while (serving := panel.current(name)) is not None:
        item = item_of(panel, name, serving.id)
        answer = "seen" if serving.served == "shown" else respond(item)
        panel.answer(name, serving.id, answer, 2.0)


@lru_cache
def named(project: Project) -> dict[bytes, str]:
    return {project.image(place).tobytes(): name for place, name in enumerate(project.names)}


def item_of(panel: Panel, annotator: str, serving: str) -> str:
    """The item that is before an annotator, by its pixels: nothing else tells."""
    return named(panel.project)[panel.image(annotator, serving, 0).tobytes()]


def truth(item: str) -> str:
    return item.split("/")[0]


def wrong_on(numbers: set[int]) -> Callable[[str], str]:
    """Right, but for the pictures of these numbers."""

    def respond(item: str) -> str:
        other = {"dead": "living", "living": "dead"}
        return other[truth(item)] if int(Path(item).stem) in numbers else truth(item)

    return respond


def predicted(names: list[str], folder: Path, *, right: set[str] | None = None, **more) -> Path:
    """A table that is right on these examples, or on all."""
    labels = [truth(name) for name in names]
    good = [right is None or name in right for name in names]
    living = [float((label == "living") == ok) for label, ok in zip(labels, good, strict=True)]
    table = {"example_id": names, "label": labels, "probability_dead": 1 - np.array(living)}
    path = folder / "predictions.parquet"
    pd.DataFrame(table | {"probability_living": living} | more).to_parquet(path)
    return path


def test_a_panel_that_nobody_has_answered_has_no_page(opened) -> None:
    assert panel_page(opened()) is None


def test_a_panel_of_two_becomes_a_page(opened, tmp_path) -> None:
    panel = opened(assignment="everyone", repeat_every=10, repeat_after=5)
    ask(panel, "Ann", truth)
    ask(panel, "Bob", wrong_on({0, 1, 2, 3}))
    panel.adjudicate("dead/000.png", "dead", "Cy")
    page = panel_page(panel, resampling=QUICK)
    numbers = json.loads((page.write(tmp_path / "out").parent / "results.json").read_text())
    assert numbers["classes"] == ["dead", "living"]
    assert (numbers["items"], numbers["disagreements"]) == (20, 4)
    assert numbers["agreement"]["agreement"]["value"] == pytest.approx(0.8)
    exact = stats.binomtest(16, 20).proportion_ci(0.95, "exact")
    assert numbers["agreement"]["agreement"]["low"] == pytest.approx(exact.low)
    assert numbers["standing"]["decided"] == 1
    assert numbers["standing"]["open"] == 3
    judged = {one["annotator"]: one["right"] for one in numbers["against_adjudicated_labels"]}
    assert judged == {"Ann": 1, "Bob": 0}
    assert {one["annotator"]: one["same"] for one in numbers["repeated_items"]} == {
        one["annotator"]: one["pairs"] for one in numbers["repeated_items"]
    }
    assert "Which cells are dying?" in (tmp_path / "out" / "results.html").read_text()


def test_the_model_stands_among_the_annotators(opened, tmp_path) -> None:
    panel = opened(assignment="everyone", unsure=True)
    names = panel.project.names
    ask(panel, "Ann", lambda item: "unsure" if item == names[4] else truth(item))
    ask(panel, "Bob", wrong_on({0, 1, 2, 3}))
    path = predicted(names[:15], tmp_path, right=set(names[5:15]))
    page = panel_page(panel, predictions=path, resampling=QUICK)
    model = page.numbers["model"]
    assert model["items_with_a_prediction"] == 15
    ann = next(pair for pair in model["pairs"] if pair["annotators"][0] == "Ann")
    assert (ann["items"], ann["agreement"]["value"]) == (14, pytest.approx(10 / 14))
    alike = next(pair for pair in model["pairs"] if "several" in pair["annotators"][0])
    differing = {0, 1, 2, 3}
    kept = [name for name in names[:15] if int(Path(name).stem) not in differing]
    kept.remove(names[4])
    assert alike["items"] == len(kept)
    assert alike["agreement"]["value"] == pytest.approx(np.mean([n in names[5:15] for n in kept]))


def test_a_model_may_write_the_classes_small(pictures, tmp_path) -> None:
    panel = Panel(create(tmp_path / "project", pictures, classes=("Living", "Dead")))
    ask(panel, "Ann", lambda item: truth(item).capitalize())
    path = predicted(panel.project.names, tmp_path)
    (pair,) = panel_page(panel, predictions=path, resampling=QUICK).numbers["model"]["pairs"]
    panel.close()
    assert (pair["annotators"][0], pair["agreement"]["value"]) == ("Ann", 1.0)


def test_the_published_class_may_be_written_large(pictures, tmp_path) -> None:
    doses = tmp_path / "doses.csv"
    names = [path.relative_to(pictures).as_posix() for path in sorted(pictures.rglob("*.png"))]
    pd.DataFrame({"path": names, "light_dose_s": 0}).to_csv(doses, index=False)
    conversion = ConversionSettings(table=str(doses))
    panel = Panel(
        create(tmp_path / "p", pictures, conversion=conversion, classes=("Healthy", "Sick"))
    )
    ask(panel, "Ann", lambda item: "Healthy")
    unexposed = panel_page(panel, resampling=QUICK).numbers["unexposed"]
    panel.close()
    assert (unexposed["expected"], unexposed["right"]) == ("Healthy", 20)


def test_only_what_several_say_is_agreed() -> None:
    answers = [("a", "dead"), ("a", "dead"), ("b", "dead"), ("c", "dead"), ("c", "living")]
    answers += [("d", "unsure"), ("d", "unsure")]
    responses = pd.DataFrame(answers, columns=["item", "response"])
    assert agreed(responses).to_dict() == {"a": "dead"}


def test_predictions_of_something_else_are_refused(opened, tmp_path) -> None:
    panel = opened(assignment="everyone")
    ask(panel, "Ann", truth)
    with pytest.raises(PredictionError, match="no prediction is about an item"):
        panel_page(panel, predictions=predicted(["dead/x.png", "living/y.png"], tmp_path))
    path = tmp_path / "other.csv"
    pd.DataFrame(
        {"example_id": panel.project.names, "probability_a": 1.0, "probability_b": 0.0}
    ).to_csv(path)
    with pytest.raises(PredictionError, match="the model answers a, b, the panel asks for dead"):
        panel_page(panel, predictions=path)


def test_crops_of_one_image_are_alike(pictures, tmp_path) -> None:
    crops = ConversionSettings(labels="none", crop_px=1, stride_px=1)
    project = create(tmp_path / "crops", pictures, conversion=crops)
    log = with_sources(pd.DataFrame({"item": project.names}), project)
    assert log["source_id"].nunique() == 20
    assert len(log) == 20 * 9


TRIAL = {"mode": "trial", "trial": {"before": 6, "shown": 3, "after": 6, "same_images": True}}


def test_a_trial_tells_what_people_could_do_and_whether_labels_helped(opened, tmp_path) -> None:
    panel = opened(**TRIAL)
    rng = np.random.default_rng(0)
    for name in ("Ann", "Bob", "Cy"):
        phase = {"before": lambda item: str(rng.choice(CLASSES)), "after": truth}
        panel.add_annotator(name)
        while (serving := panel.current(name)) is not None:
            item = item_of(panel, name, serving.id)
            respond = phase.get(serving.served, lambda item: "seen")
            panel.answer(name, serving.id, respond(item), 1.0)
    given = answers_in_trial(with_sources(panel.log(), panel.project))
    found = trial_of(given, CLASSES, QUICK)
    before, after = found.phases
    by_hand = given[given["training"] == "before"]
    assert before.accuracy.value == pytest.approx(
        (by_hand["answer"] == by_hand["image"].map(truth)).mean()
    )
    assert (after.accuracy.value, after.answers, after.images) == (1.0, 18, 6)
    assert found.gain.subjects == 3
    assert found.gain.difference.value == pytest.approx(1 - before.accuracy.value)
    # the exact test of three signs
    assert found.gain.smallest_p_value == pytest.approx(0.25)
    assert np.trace(before.confusion.counts) == by_hand["right"].sum()
    page = panel_page(panel, resampling=QUICK)
    assert page.title == "Can people tell these images apart?"
    text = page.write(tmp_path / "out").read_text()
    assert "With so few people (3) p cannot be below 0.25" in text
    assert "ceiling for a model" not in text
    assert "labels were shown between them" in text
    assert not re.search(r"\b(nan|None)\b", re.sub(r"data:[^\"]+", "", text))


def answered(right: dict[tuple[str, str], str]) -> pd.DataFrame:
    """Answers in a trial. right: by subject and training, of images 0, 1, ...: 1 right, 0 wrong;
    images are the same for all, and dead but for the first two."""
    rows = [
        (who, phase, f"{phase} {place}", "living" if place < 2 else "dead", float(digit))
        for (who, phase), digits in right.items()
        for place, digit in enumerate(digits)
    ]
    found = pd.DataFrame(rows, columns=["subject", "training", "image", "label", "right"])
    other = found["label"].map({"dead": "living", "living": "dead"})
    return found.assign(
        answer=found["label"].where(found["right"] == 1, other), group=found["image"]
    )


def test_easier_images_after_than_before_prove_no_learning() -> None:
    people = [f"subject {n}" for n in range(8)]
    given = answered(
        {(who, "before"): "110000" for who in people} | {(who, "after"): "111000" for who in people}
    )
    found = trial_of(given, CLASSES, Resampling(500, 0))
    assert found.gain.p_value < 0.05
    assert found.gain.difference.low < 0 < found.gain.difference.high
    assert not found.gain.proved
    told = " ".join(on_trial(found))
    assert "no effect of the labels is proved" in told
    assert "they learnt" not in told


def test_always_to_say_the_commonest_class_is_no_better_than_guessing() -> None:
    always_dead = "00" + 18 * "1"
    given = answered({(f"subject {n}", "before"): always_dead for n in range(12)})
    found = trial_of(given, CLASSES, Resampling(500, 0))
    assert found.phases[0].accuracy.low > found.by_chance
    told = on_trial(found)[0]
    assert "cannot be told from guessing" in told
    assert "always to say dead is right on 90 of 100" in told


def test_people_and_the_model_are_compared_on_the_images_that_both_saw(opened, tmp_path) -> None:
    panel = opened(**TRIAL)
    for name in ("Ann", "Bob"):
        ask(panel, name, wrong_on(set(range(0, 40, 4))))
    names = panel.project.names
    # of split train there would be no honest answers of the model
    split = ["train" if place < 8 else "test" for place in range(20)]
    page = panel_page(panel, predictions=predicted(names, tmp_path, split=split), resampling=QUICK)
    humans = page.numbers["humans"]
    given = answers_in_trial(with_sources(panel.log(), panel.project))
    kept = given[given["image"].isin(names[8:])]
    assert humans["answers_left_out"] == len(given) - len(kept) > 0
    for trial in humans["trials"]:
        rows = kept[kept["training"] == trial["training"]]
        assert trial["people"]["value"] == pytest.approx(rows["right"].mean())
        assert trial["model"]["value"] == 1.0
    assert any("do not stand in the comparison" in remark.text for _, remark in page.remarks)


def test_a_trial_that_has_just_begun_gets_words(opened) -> None:
    panel = opened(**TRIAL)
    panel.add_annotator("Ann")
    panel.answer("Ann", panel.current("Ann").id, "dead", 1.0)
    page = panel_page(panel, resampling=QUICK)
    assert "Nobody has answered both before and after yet" in page.html()
    assert not re.search(r"\b(nan|None)\b", re.sub(r"data:[^\"]+", "", page.html()))


def test_unsure_in_a_trial_counts_as_wrong(opened) -> None:
    panel = opened(unsure=True, **TRIAL)
    ask(panel, "Ann", lambda item: "unsure")
    found = trial_of(answers_in_trial(with_sources(panel.log(), panel.project)), CLASSES, QUICK)
    assert [(phase.accuracy.value, phase.no_class) for phase in found.phases] == [(0.0, 6)] * 2


def test_the_command_says_the_main_things_and_writes_the_page(opened, tmp_path) -> None:
    panel = opened(assignment="everyone")
    command = ["results", str(tmp_path / "project"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, command)
    assert "nobody has answered yet" in done.output
    assert not (tmp_path / "out").exists()
    for name in ("Ann", "Bob"):
        ask(panel, name, wrong_on({0, 1, 2}))
    done = CliRunner().invoke(main, [*command, "--bootstrap", "100"])
    assert done.exit_code == 0, done.output
    assert "40 responses of 2 annotators to 20 items, answers dead, living" in done.output
    assert "their agreement is 1.00" in done.output
    assert f"report: {tmp_path / 'out' / 'results.html'}" in done.output


def test_examples_of_a_dataset_keep_the_groups_of_its_split(pictures, tmp_path) -> None:
    dataset = convert(pictures, tmp_path / "dataset")
    project = create(tmp_path / "panel", dataset.folder)
    assert project.described()["group"].tolist() == dataset.manifest["group"].tolist()
