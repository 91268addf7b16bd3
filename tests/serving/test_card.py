"""The model card says what is known of a model, and loudly what is not."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from deadlib.errors import ExportError
from deadlib.evaluation import evaluate
from deadlib.inference import predict
from deadlib.runs import Run
from deadlib.serving import open_bundle
from deadlib.serving.card import make_card, write_card
from deadlib.serving.evaluated import find_report, read_evaluation
from deadlib.serving.own_words import OwnWords, read_own_words


class Words(HTMLParser):
    """What a reader sees, and what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.fetched: list[str] = []

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]
        assert tag != "script"


def read_page(folder: Path) -> str:
    page = Words()
    page.feed((folder / "card.html").read_text(encoding="utf-8"))
    assert page.fetched == []
    return " ".join(" ".join(page.text).split())


@pytest.fixture(scope="module")
def report(shared_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    table = predict(shared_run, shared_run.dataset["path"], folder / "table.parquet")
    evaluate(table, folder, bootstrap=100)
    return folder


def card_of(run: Run, out: Path, **given: Any) -> dict[str, Any]:
    described = open_bundle(out).description
    values = {"evaluation": None, "words": OwnWords(), **given}
    return make_card(run, "model", 1, described, values["evaluation"], values["words"])


def test_a_model_that_nobody_evaluated_says_so_first(out: Path) -> None:
    bundle = open_bundle(out)
    assert [remark["level"] for remark in bundle.card["remarks"][:2]] == ["alarm", "warning"]
    assert bundle.card["remarks"][0]["text"].startswith("Not evaluated")
    assert bundle.card["evaluation"] is None
    page = read_page(bundle.card_page.parent)
    assert page.index("Not evaluated") < page.index("How good it is")


def test_figures_stand_with_their_intervals_as_in_the_report(
    shared_run: Run, out: Path, report: Path, tmp_path: Path
) -> None:
    evaluation = read_evaluation(report, shared_run.classes)
    card = card_of(shared_run, out, evaluation=evaluation)
    told = json.loads((report / "report.json").read_text())
    accuracy = told["by_example"]["metrics"]["accuracy"]
    assert card["evaluation"]["metrics"]["accuracy"]["value"] == accuracy["value"]
    assert card["evaluation"]["metrics"]["accuracy"]["low"] == accuracy["low"]
    write_card(tmp_path, card)
    assert json.loads((tmp_path / "card.json").read_text()) == json.loads(json.dumps(card))
    page = read_page(tmp_path)
    assert f"{accuracy['value']:.3f}" in page
    assert told["verdict"]["How good?"] in page
    assert "Not evaluated" not in page
    alarms = [remark["text"] for remark in told["remarks"] if remark["level"] == "alarm"]
    assert all(text in page for text in alarms)


def test_figures_of_another_model_are_told_from_its_own(
    shared_run: Run, out: Path, report: Path
) -> None:
    evaluation = read_evaluation(report, shared_run.classes)

    def told(**model: Any) -> str:
        mixed = evaluation | {"model": evaluation["model"] | model if model else None}
        return str(card_of(shared_run, out, evaluation=mixed)["remarks"])

    own = str(card_of(shared_run, out, evaluation=evaluation)["remarks"])
    assert "figures are of another model" not in own
    assert "before it was calibrated" not in own
    assert "figures are of another model" in told(trained_on_fingerprint="0" * 64)
    assert "before it was calibrated" in told(calibrated=True)
    assert "does not say which model" in told()


def test_the_limits_come_from_what_was_taught(shared_run: Run, out: Path) -> None:
    limits = " ".join(card_of(shared_run, out)["limits"])
    assert "nothing but dead or living" in limits
    assert "pixel size of its training images is not recorded" in limits
    assert "does not say which cell lines" in limits
    assert "Few training images of a class: dead 2" in limits


def test_words_of_the_makers_are_added_and_never_markup(
    shared_run: Run, out: Path, tmp_path: Path
) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("limits: <script>alert(1)</script>\ncontact: lab@example.org\n")
    card = card_of(shared_run, out, words=read_own_words(path))
    assert card["limits"][-1] == "<script>alert(1)</script>"
    write_card(tmp_path, card)
    assert "lab@example.org" in read_page(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("licens: MIT", "licens: extra inputs are not permitted; there are description"),
        ("authors: 3", "authors"),
        ("- a\n- b", "expected lines such as"),
        ("a: [", "no YAML"),
    ],
    ids=["misspelt", "wrong kind", "a list", "no YAML"],
)
def test_words_that_are_no_words_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "words.yaml"
    path.write_text(text)
    with pytest.raises(ExportError, match=message):
        read_own_words(path)


def test_a_report_on_other_classes_is_refused(report: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="on the classes dead, living, but the run knows"):
        read_evaluation(report, ["a", "b"])
    (tmp_path / "report.json").write_text('{"split": "test"}')
    with pytest.raises(ExportError, match="cannot be read as a report"):
        read_evaluation(tmp_path, ["dead", "living"])


def test_the_report_in_the_folder_of_the_run_is_found(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert find_report(run) is None
    path = tmp_path / "predictions-report" / "report.json"
    path.parent.mkdir()
    path.write_text("{}")
    assert find_report(run) == path
