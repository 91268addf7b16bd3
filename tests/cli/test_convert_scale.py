"""Conversion on several machines, as they are: independent processes on one folder."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from picture_folder import write_pictures

from deadlib.cli.convert import main

IMAGES = 224
BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]

# SLURM's two commands as dask-jobqueue uses them, for a machine that has no SLURM: the script of
# the job runs here and now, and its process group stands for the job.
SBATCH = """#!/usr/bin/env bash
echo "$@" >> submitted
setsid bash "${@: -1}" > job.log 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/usr/bin/env bash
for job in "$@"; do kill -- "-$job" 2> /dev/null; done
true
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("experiment") / "images", IMAGES)


def start(folder: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """The command in a process of its own, in the folder in which it writes `dataset`."""
    return start_program(folder, {}, BIN / "deadlib-convert", *arguments)


def start_program(
    folder: Path, environment: dict[str, str], *words: str | Path
) -> subprocess.Popen[str]:
    path = f"{folder / 'bin'}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
    )


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return output, errors


def bytes_in(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "a folder"
        )
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("alone")
    end(start(folder, source, "dataset", "--examples-per-shard", "20"))
    return bytes_in(folder / "dataset")


def test_jobs_of_an_array_end_with_the_bytes_of_one_command(
    source: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    command = (source, "dataset", "--examples-per-shard", "20", "--shard-range")
    first, second = (end(job) for job in [start(tmp_path, *command, f"{i}/2") for i in (1, 2)])
    assert "examples in 12 shards" in first[0] + second[0]
    assert bytes_in(tmp_path / "dataset") == whole
    end(start(tmp_path, *command, "1/2"))
    assert bytes_in(tmp_path / "dataset") == whole


def test_a_job_alone_says_what_is_missing(source: Path, tmp_path: Path) -> None:
    errors = end(start(tmp_path, source, "dataset", "--shard-range=1/2"))[1]
    assert "share 1/2 is written; " in errors
    assert "the same command without --shard-range" in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard-range", "3/2"], "expected i/N with i from 1 to N"),
        (["--shard-range", "1/2", "--overwrite"], "(remove OUT before)"),
    ],
)
def test_mistakes_are_usage_errors(
    source: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = CliRunner().invoke(main, [str(source), str(tmp_path / "out"), *options])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_a_cluster_ends_with_the_bytes_of_one_command(
    source: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as workers:
        address = workers.scheduler_address
        command = (source, "dataset", "--examples-per-shard", "20", "--scheduler", address)
        end(start(tmp_path, *command))
    assert bytes_in(tmp_path / "dataset") == whole


def test_the_script_for_an_array_writes_one_share(
    source: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    """Run as SLURM runs it, with the variables that SLURM sets."""
    command = (ROOT / "bin" / "slurm_array.sh", source, "dataset", "--examples-per-shard", "20")
    array = {"MIN": "4", "MAX": "5", "COUNT": "2"}
    for number in ("5", "4"):
        variables = {f"SLURM_ARRAY_TASK_{name}": value for name, value in array.items()}
        job = start_program(tmp_path, {**variables, "SLURM_ARRAY_TASK_ID": number}, *command)
        end(job)
    assert bytes_in(tmp_path / "dataset") == whole
    gaps = {**variables, "SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_MAX": "9"}
    job = start_program(tmp_path, gaps, *command)
    assert "expected --array=1-N" in job.communicate()[1]
    assert job.returncode == 2


def _need_dask_jobqueue() -> None:
    """Not imported here, as that would change what Ctrl-C does in all other tests."""
    if importlib.util.find_spec("dask_jobqueue") is None:
        pytest.skip("SLURM LAUNCH NOT TESTED: dask-jobqueue is not installed")


def test_the_script_of_a_slurm_job_asks_for_what_was_given(tmp_path: Path) -> None:
    _need_dask_jobqueue()
    script = end(
        start_program(
            tmp_path,
            {},
            *(sys.executable, ROOT / "bin" / "slurm_convert.py", "--print-script"),
            *("--partition", "cpu", "--account", "lab", "--cores", "4", "--memory", "8GB"),
            *("--walltime", "02:30:00", "--prologue", "module load cuda", "--", "a", "b"),
        )
    )[0]
    lines = script.splitlines()
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    assert {"-p cpu", "-A lab", "--cpus-per-task=4", "--mem=8G", "-t 02:30:00"} <= asked
    assert "module load cuda" in lines
    worker = next(line for line in lines if "dask_worker" in line)
    assert worker.startswith(sys.executable)
    assert "--nthreads 1" in worker
    assert "--nworkers 4" in worker


def test_slurm_jobs_end_with_the_bytes_of_one_command(
    source: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    """The jobs' own scripts run here, by stand-ins for sbatch and scancel."""
    _need_dask_jobqueue()
    (tmp_path / "bin").mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    command = (source, "dataset", "--examples-per-shard", "20")
    options = ("--jobs", "2", "--cores", "1", "--memory", "1GB", "--interface", "lo", "--")
    script = ROOT / "bin" / "slurm_convert.py"
    end(start_program(tmp_path, {}, sys.executable, script, *options, *command))
    assert len((tmp_path / "submitted").read_text().splitlines()) == 2
    assert bytes_in(tmp_path / "dataset") == whole
