"""A process that is killed while it answers loses nothing that it acknowledged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deadlib.panel import Panel, create

ANSWERS = """
import sys
from deadlib.panel import Panel, Project
panel = Panel(Project.open(sys.argv[1]))
while True:
    serving = panel.current("Ann")
    panel.ahead("Ann")
    print(panel.answer("Ann", serving.id, "sick", 1.0).serving, flush=True)
    panel.undo("Ann")
"""


def test_what_was_acknowledged_is_there_after_a_kill(pictures: Path, tmp_path: Path) -> None:
    project = create(tmp_path / "project", pictures)
    panel = Panel(project)
    panel.add_annotator("Ann")
    command = [sys.executable, "-c", ANSWERS, str(project.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        acknowledged = [worker.stdout.readline().strip() for _ in range(20)]
        worker.kill()
        acknowledged += worker.stdout.read().split()
    log = panel.log()
    assert log["serving"].tolist()[: len(acknowledged)] == acknowledged
    assert len(log) <= len(acknowledged) + 1, "one may have been kept and not acknowledged any more"
    assert len(panel.responses()) <= 1
    waiting = panel.current("Ann")
    assert Panel(project).current("Ann") == waiting
    panel.answer("Ann", waiting.id, "healthy", 1)
    assert panel.responses()["response"].iloc[-1] == "healthy"
    panel.close()
