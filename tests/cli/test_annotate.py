"""deadlib-annotate as a person runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND = "from deadlib.cli.annotate import main; main(prog_name='deadlib-annotate')"
HEADER = "annotator,item,position,top_px,left_px,height_px,width_px,first_frame,frames,response\n"


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def log(tmp_path):
    rows = []
    for item in range(60):
        for who, said in (("A", "sick"), ("B", "Sick" if item % 4 else "healthy")):
            rows.append(f"{who},i{item},p{item % 12},{256 * item},0,256,256,0,10,{said}")
    path = tmp_path / "annotations.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


def test_a_short_table_is_printed_and_nothing_written(log, tmp_path):
    done = run("concordance", log.name, "--bootstrap", 100, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "expected ceiling" in done.stdout
    assert "A and B agree, of 60" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [log.name]


def test_out_holds_the_page(log, tmp_path):
    done = run("concordance", log.name, "--out", "here", "--bootstrap", 100, cwd=tmp_path)
    assert "report: here/concordance.html" in done.stdout.splitlines()
    assert (tmp_path / "here" / "concordance.html").is_file()


def test_a_bad_log_gives_one_message(tmp_path):
    (tmp_path / "bad.csv").write_text(HEADER + "A,i1,p1,0,0,256,256,0,10,\n")
    done = run("concordance", "bad.csv", "--out", "here", cwd=tmp_path)
    assert done.returncode == 1
    assert "row 2: no response" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "here").exists()


def test_what_a_panel_said_becomes_a_dataset(tmp_path):
    from picture_folder import write_pictures

    from deadlib.panel import Panel, create

    pictures = write_pictures(tmp_path / "pictures", 8)
    panel = Panel(create(tmp_path / "panel", pictures, assignment="everyone"))
    for name, steady in (("ann", True), ("bob", False)):
        panel.add_annotator(name)
        for number in range(8):
            serving = panel.current(name)
            said = ("healthy", "sick")[int(panel.image(name, serving.id, 0).sum()) % 2]
            panel.answer(name, serving.id, "unsure" if number == 3 and not steady else said, 1.0)
    panel.close()
    done = run("export", "panel", "log.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "log.csv: 16 rows, 8 items" in done.stdout
    assert "7 are kept by concordance, 7 are kept by majority, 8 are kept by votes" in done.stdout
    again = run("export", "panel", "log.csv", cwd=tmp_path)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    convert = "from deadlib.cli.convert import main; main()"
    arguments = ["pictures", "data", "--annotations", "log.csv", "--agreement", "votes"]
    made = subprocess.run(
        [sys.executable, "-c", convert, *arguments, "--workers", "1", "--no-find-similar"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "data: 8 examples" in made.stdout
