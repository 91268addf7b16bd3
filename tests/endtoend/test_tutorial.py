"""The tutorial, as printed: its commands are run in an empty folder, in a pipe, one by one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.S)
    for line in block.strip().splitlines()
]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one printed command with the environment's own executables."""
    program, rest = command.split(" ", 1)
    return subprocess.run(
        f"{Path(sys.executable).parent / program} {rest}",
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    """The folder after the whole tutorial, and how each command ended."""
    folder = tmp_path_factory.mktemp("tutorial")
    recipe = re.search(r"```yaml\n(.*?)```", TEXT, re.S)
    assert recipe is not None
    (folder / "recipe.yaml").write_text(recipe.group(1), encoding="utf-8")
    return folder, [(command, run(command, folder)) for command in COMMANDS]


def test_every_command_succeeds_but_the_one_that_shows_an_error(walked) -> None:
    for command, done in walked[1]:
        expected = 1 if "model.nmae" in command else 0
        assert done.returncode == expected, f"{command}\n{done.stdout}\n{done.stderr}"


def test_a_typo_is_answered_with_the_nearest_known_name(walked) -> None:
    [done] = [done for command, done in walked[1] if "model.nmae" in command]
    assert "model.nmae" in done.stderr
    assert "did you mean name?" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_terminal_shows_only_deadlibs_words(walked) -> None:
    chatter = re.compile(r"tensorflow|cuda|oneDNN|computation_placer|WARNING:absl|I0000|W0000")
    for command, done in walked[1]:
        shown = done.stdout + done.stderr
        assert not chatter.search(shown), f"{command}\n{shown}"


def test_it_ends_with_a_report_and_a_model_that_answers(walked) -> None:
    folder = walked[0]
    assert (folder / "dataset-sheet.png").stat().st_size > 10_000
    assert (folder / "maps" / "overview.png").stat().st_size > 10_000
    assert 100_000 < (folder / "report" / "report.html").stat().st_size < 15_000_000
    served = tf.saved_model.load(str(folder / "served" / "1"))
    image = tf.io.encode_png(tf.zeros((96, 96, 1), tf.uint16)).numpy()
    answer = served.signatures["encoded"](image_bytes=tf.constant([image]))
    assert answer["probability"].shape == (1, 2)
    assert abs(float(tf.reduce_sum(answer["probability"])) - 1) < 1e-5
