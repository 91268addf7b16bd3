"""A panel at work, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from deadlib.errors import PanelConflict, PanelError
from deadlib.panel import Panel, create
from deadlib.panel import database as tables
from deadlib.panel.items import ANSWERS
from tfrecords_tools import ConversionSettings

Opened = Callable[..., Panel]
BY_FOLDER = ConversionSettings(labels="folder")


def answer_all(panel: Panel, name: str, count: int, response: str = "healthy") -> int:
    for done in range(count):
        serving = panel.current(name)
        if serving is None:
            return done
        panel.answer(name, serving.id, response, 1.0)
    return count


def test_a_token_opens_the_door_of_its_annotator_only(everywhere: Opened) -> None:
    panel = everywhere()
    ann, bob = panel.add_annotator("Ann"), panel.add_annotator("Bob")
    assert panel.annotator_of(ann) == "Ann"
    assert panel.annotator_of(bob) == "Bob"
    assert len(ann) >= 43, "256 bits in base 64"
    for wrong in ("", ann[:-1], ann + "x", ann.swapcase(), "\ud800", "\0", "'; DROP TABLE panel"):
        assert panel.annotator_of(wrong) is None
    assert not panel.is_admin(ann)


def test_tokens_are_kept_nowhere(everywhere: Opened, tmp_path: Path) -> None:
    panel = everywhere()
    tokens = [panel.add_annotator("Ann"), panel.new_token("Ann"), panel.admin_token()]
    with panel._database.reading() as connection:
        rows = [*connection.execute(sa.select(tables.annotators))]
        rows += connection.execute(sa.select(tables.panel))
    assert not [token for token in tokens if token in str(rows)]
    files = [path.read_bytes() for path in (tmp_path / "project").iterdir()]
    assert not [token for token in tokens if any(token.encode() in data for data in files)]


def test_a_new_link_shuts_the_old_one_and_access_can_be_taken_away(opened: Opened) -> None:
    panel = opened()
    first = panel.add_annotator("Ann")
    second = panel.new_token("Ann")
    assert panel.annotator_of(first) is None
    assert panel.annotator_of(second) == "Ann"
    panel.remove_access("Ann")
    assert panel.annotator_of(second) is None
    assert panel.annotators()["access"].tolist() == [False]


def test_the_administrators_token_is_the_last_one(opened: Opened) -> None:
    panel = opened()
    assert not panel.is_admin("")
    first, second = panel.admin_token(), panel.admin_token()
    assert not panel.is_admin(first)
    assert panel.is_admin(second)
    assert panel.annotator_of(second) is None


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb", "a\0b", "\ud800"])
def test_a_name_that_cannot_be_one_is_refused(opened: Opened, name: str) -> None:
    with pytest.raises(PanelError, match="expected a name"):
        opened().add_annotator(name)


def test_names_are_told_apart_by_more_than_their_capitals(everywhere: Opened) -> None:
    panel = everywhere()
    panel.add_annotator("Ann <script>alert('ö')</script>")
    panel.add_annotator("Ann")
    with pytest.raises(PanelError, match="there is one of that name"):
        panel.add_annotator(" ann ")


@pytest.mark.parametrize("call", ["current", "ahead", "undo", "progress", "new_token"])
def test_an_unknown_annotator_is_refused(opened: Opened, call: str) -> None:
    with pytest.raises(PanelError, match="no such annotator"):
        getattr(opened(), call)("Nobody")


def test_the_same_item_stays_before_an_annotator_until_it_is_answered(everywhere: Opened) -> None:
    panel = everywhere()
    panel.add_annotator("Ann")
    first = panel.current("Ann")
    assert panel.current("Ann") == first
    assert everywhere().current("Ann") == first, "another process, or after a restart"
    panel.answer("Ann", first.id, "sick", 2.5)
    second = everywhere().current("Ann")
    assert second.id != first.id
    assert second.number == 2


def test_what_comes_next_can_be_loaded_before_it_is_needed(everywhere: Opened) -> None:
    panel = everywhere()
    panel.add_annotator("Ann")
    first = panel.current("Ann")
    ahead = panel.ahead("Ann")
    assert ahead.number == 2
    assert everywhere().ahead("Ann") == ahead
    assert panel.current("Ann") == first
    panel.image("Ann", ahead.id, 0)
    panel.answer("Ann", first.id, "sick", 1)
    assert panel.current("Ann") == ahead


def test_an_answer_counts_once_however_often_it_is_sent(everywhere: Opened) -> None:
    panel = everywhere()
    panel.add_annotator("Ann")
    serving = panel.current("Ann")
    assert not panel.answer("Ann", serving.id, "sick", 2.5).again
    assert panel.answer("Ann", serving.id, "sick", 7).again
    assert everywhere().answer("Ann", serving.id, "sick", 2.5).again
    with pytest.raises(PanelConflict, match="answered sick already"):
        panel.answer("Ann", serving.id, "healthy", 1)
    log = panel.log()
    assert log["response"].tolist() == ["sick"]
    assert log["seconds"].tolist() == [2.5]


def test_an_answer_to_what_was_taken_back_changes_nothing(opened: Opened) -> None:
    panel = opened()
    panel.add_annotator("Ann")
    first = panel.current("Ann")
    panel.answer("Ann", first.id, "sick", 1)
    again = panel.undo("Ann")
    assert panel.answer("Ann", first.id, "sick", 1).again, "a request that was long on its way"
    assert panel.current("Ann") == again
    with pytest.raises(PanelConflict):
        panel.answer("Ann", first.id, "healthy", 1)
    panel.answer("Ann", again.id, "healthy", 1)
    assert panel.responses()["response"].tolist() == ["healthy"]


@pytest.mark.parametrize("response", ["", "Healthy", "seen", "dead", "\0", "<b>"])
def test_what_is_no_answer_is_refused(opened: Opened, response: str) -> None:
    panel = opened()
    panel.add_annotator("Ann")
    with pytest.raises(PanelError, match="expected one of healthy, sick, unsure"):
        panel.answer("Ann", panel.current("Ann").id, response, 1)
    assert panel.log().empty


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "1", None])
def test_a_time_that_is_none_is_refused(opened: Opened, seconds: float) -> None:
    panel = opened()
    panel.add_annotator("Ann")
    with pytest.raises(PanelError, match="expected seconds"):
        panel.answer("Ann", panel.current("Ann").id, "sick", seconds)


def test_nobody_answers_or_sees_what_is_anothers(everywhere: Opened) -> None:
    panel = everywhere()
    panel.add_annotator("Ann")
    panel.add_annotator("Bob")
    serving = panel.current("Ann").id
    for call in (
        lambda: panel.answer("Bob", serving, "sick", 1),
        lambda: panel.image("Bob", serving, 0),
        lambda: panel.skip("Bob", serving, "gone"),
        lambda: panel.image("Ann", "../../etc/passwd", 0),
        lambda: panel.answer("Ann", "\ud800'--", "sick", 1),
    ):
        with pytest.raises(PanelError, match="no such item for this annotator"):
            call()


def test_an_answer_taken_back_comes_again_and_the_log_keeps_both(everywhere: Opened) -> None:
    panel = everywhere()
    panel.add_annotator("Ann")
    answer_all(panel, "Ann", 3, "sick")
    last = panel.undo("Ann")
    assert last.number == 3
    assert panel.undo("Ann").number == 2, "one further back"
    assert panel.current("Ann").number == 2
    for _ in range(2):
        panel.answer("Ann", panel.current("Ann").id, "healthy", 1)
    assert panel.current("Ann").number == 4
    log = panel.log()
    assert log["number"].tolist() == [1, 2, 3, 2, 3]
    assert log["withdrawn"].tolist() == [False, True, True, False, False]
    responses = panel.responses()
    assert responses["response"].tolist() == ["sick", "healthy", "healthy"]
    assert responses["replaced"].tolist() == [0, 1, 1]


def test_nothing_can_be_taken_back_before_the_first_answer(opened: Opened) -> None:
    panel = opened()
    panel.add_annotator("Ann")
    panel.current("Ann")
    assert panel.undo("Ann") is None
    assert not panel.progress("Ann").can_undo


def test_a_broken_image_is_left_out_for_all_who_have_not_had_it(everywhere: Opened) -> None:
    panel = everywhere(assignment="everyone", order="listed")
    for name in ("Ann", "Bob"):
        panel.add_annotator(name)
    serving = panel.current("Ann")
    panel.skip("Ann", serving.id, "cannot be read \udce4\0")
    panel.skip("Ann", serving.id, "said twice")
    with pytest.raises(PanelConflict, match="could not be shown"):
        panel.answer("Ann", serving.id, "sick", 1)
    assert answer_all(panel, "Ann", 99) == answer_all(panel, "Bob", 99) == 23
    gone = panel.skipped()
    assert gone["item"].tolist() == [panel.project.names[0]]
    assert gone["reason"].tolist() == ["cannot be read ?"]
    assert panel.project.names[0] not in set(panel.log()["item"])


def test_progress_says_how_far_an_annotator_has_come(opened: Opened) -> None:
    panel = opened(overlap_every=0)
    for name in ("Ann", "Bob"):
        panel.add_annotator(name)
    answer_all(panel, "Ann", 5)
    answer_all(panel, "Bob", 2)
    progress = panel.progress("Ann")
    assert (progress.answered, progress.items, progress.items_answered) == (5, 24, 7)
    assert progress.to_answer is None
    assert not progress.done
    answer_all(panel, "Ann", 99)
    assert panel.progress("Ann").done
    assert panel.current("Ann") is None
    assert not panel.progress("Bob").done


def test_a_trial_shows_labels_between_and_nowhere_else(opened: Opened) -> None:
    panel = opened(conversion=BY_FOLDER, mode="trial", trial={"before": 3, "shown": 4, "after": 3})
    panel.add_annotator("Ann")
    phases = []
    while (serving := panel.current("Ann")) is not None:
        phases.append(serving.phase)
        progress = panel.progress("Ann")
        assert progress.phase == serving.phase
        assert progress.phase_items == {"before": 3, "shown": 4, "after": 3}[serving.phase]
        assert (serving.label is not None) == (serving.phase == "shown")
        assert serving.answers == (("seen",) if serving.label else ("dead", "living"))
        panel.answer("Ann", serving.id, serving.answers[0], 1)
    assert phases == ["before"] * 3 + ["shown"] * 4 + ["after"] * 3
    assert panel.log()["served"].tolist() == phases
    assert panel.responses()["served"].tolist() == ["before"] * 3 + ["after"] * 3
    assert panel.progress("Ann").phase == "done"


def test_repeats_are_in_the_log_and_do_not_count_twice(opened: Opened) -> None:
    panel = opened(repeat_every=4, repeat_after=3)
    panel.add_annotator("Ann")
    answer_all(panel, "Ann", 99)
    log = panel.log()
    assert (log["served"] == "repeat").sum() == 6
    assert len(log) == 30
    assert len(panel.responses()) == 24


def test_the_log_has_everything_of_an_answer(everywhere: Opened) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    panel = everywhere(clock=lambda: now, conversion=BY_FOLDER)
    panel.add_annotator("Ann")
    serving = panel.current("Ann")
    panel.answer("Ann", serving.id, "unsure", 1.25)
    row = panel.log().iloc[0]
    assert set(ANSWERS) <= set(row.index)
    assert (row["annotator"], row["serving"], row["number"]) == ("Ann", serving.id, 1)
    assert (row["served"], row["response"], row["seconds"]) == ("fresh", "unsure", 1.25)
    assert row["timestamp"] == "2026-03-01T12:00:00.000+00:00"
    assert row["item"].startswith(f"{row['label']}/")
    assert row["frames"] == 1


def test_a_clock_that_is_set_back_changes_no_order(opened: Opened) -> None:
    times = iter(datetime(2026, 3, 1, tzinfo=UTC) - timedelta(hours=n) for n in range(99))
    panel = opened(clock=lambda: next(times))
    panel.add_annotator("Ann")
    answer_all(panel, "Ann", 5, "sick")
    panel.undo("Ann")
    answer_all(panel, "Ann", 1, "healthy")
    assert panel.log()["number"].tolist() == [1, 2, 3, 4, 5, 5]
    assert panel.responses()["response"].tolist() == ["sick"] * 4 + ["healthy"]


def test_the_last_word_on_an_item_counts(everywhere: Opened) -> None:
    panel = everywhere()
    item, other = panel.project.names[:2]
    panel.adjudicate(item, "sick", "Zoe")
    panel.adjudicate(other, "sick", "Zoe")
    panel.adjudicate(item, "healthy", "Zoe")
    panel.adjudicate(other, None, "Zoe")
    settled = panel.adjudications()
    assert settled[["item", "label", "by"]].values.tolist() == [[item, "healthy", "Zoe"]]
    with pytest.raises(PanelError, match="not one of this panel"):
        panel.adjudicate("../secret", "sick", "Zoe")
    with pytest.raises(PanelError, match="expected one of"):
        panel.adjudicate(item, "dead", "Zoe")


def test_many_at_once_lose_no_answer_and_give_none_twice(everywhere: Opened) -> None:
    names = [f"expert {number}" for number in range(6)]
    panels = [everywhere(), everywhere(), everywhere()]
    for name in names:
        panels[0].add_annotator(name)
    acknowledged: list[tuple[str, str]] = []
    errors: list[BaseException] = []

    def annotate(panel: Panel, name: str) -> None:
        try:
            for _ in range(10):
                serving = panel.current(name)
                panel.ahead(name)
                acknowledged.append((name, panel.answer(name, serving.id, "sick", 1).serving))
        except BaseException as error:
            errors.append(error)

    # Every name twice: two tabs, which another process may serve.
    threads = [
        threading.Thread(target=annotate, args=(panels[(place + tab) % 3], name))
        for place, name in enumerate(names)
        for tab in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    log = everywhere().log()
    assert sorted(set(acknowledged)) == sorted(zip(log["annotator"], log["serving"], strict=True))
    assert not log.duplicated(["annotator", "item"]).any()
    fresh = log[log["served"] == "fresh"]
    assert not fresh["item"].duplicated().any()
    for _, own in log.groupby("annotator"):
        assert sorted(own["number"]) == list(range(1, len(own) + 1))


def test_the_tables_themselves_refuse_what_would_count_twice(everywhere: Opened) -> None:
    panel = everywhere()
    panel.add_annotator("Ann")
    serving = panel.current("Ann")
    panel.answer("Ann", serving.id, "sick", 1)
    row = {"id": "other", "annotator": "Ann", "attempt": 0, "served": "fresh", "again": 0}
    item = panel.log()["item"].iloc[0]
    event = {"serving": serving.id, "what": "answered", "timestamp": "now"}
    for table, values in (
        (tables.events, {**event, "response": "healthy"}),
        (tables.servings, {**row, "number": 1, "item": "another"}),
        (tables.servings, {**row, "number": 2, "item": item}),
    ):
        with pytest.raises(sa.exc.IntegrityError), panel._database.turn() as (connection, number):
            connection.execute(sa.insert(table).values(sequence=number, **values))
    assert len(panel.log()) == 1


def test_a_call_that_fails_leaves_nothing(everywhere: Opened) -> None:
    panel = everywhere()
    row = {"name": "Ann", "added": "now"}

    def fail() -> None:
        with panel._database.turn() as (connection, _):
            connection.execute(sa.insert(tables.annotators).values(row))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert panel.annotators().empty


def test_a_database_belongs_to_one_project(
    everywhere: Opened, tmp_path: Path, pictures: Path
) -> None:
    panel = everywhere()
    url = panel._database._engine.url.render_as_string(hide_password=False)
    other = create(tmp_path / "other", pictures / "dead")
    with pytest.raises(PanelError, match="another project"):
        Panel(other, url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://nobody:secret@127.0.0.1:9/none", "does not answer"),
        ("mysql://host/name", "expected postgresql or sqlite"),
        ("panel", "no URL"),
        ("sqlite:////no/such/folder/panel.sqlite", "does not answer"),
    ],
)
def test_a_database_that_cannot_be_reached_is_told_without_its_password(
    pictures: Path, tmp_path: Path, url: str, told: str
) -> None:
    project = create(tmp_path / "project", pictures)
    with pytest.raises(PanelError, match=told) as refused:
        Panel(project, url)
    assert "secret" not in str(refused.value)
