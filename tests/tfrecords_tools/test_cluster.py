"""A Dask cluster as the place of work: two real workers, one of which may die."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_tasks import count_or_fail, process_of
from picture_folder import write_pictures

from tfrecords_tools import ClusterError, ConversionSettings, DaskCluster, convert
from tfrecords_tools.errors import ImageError
from tfrecords_tools.pool import run_tasks

distributed = pytest.importorskip("distributed")

IMAGES = 240


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("experiment") / "source", IMAGES, side_px=120)


@pytest.fixture(scope="module")
def workers() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.fixture
def cluster(workers: distributed.LocalCluster, source: Path) -> Iterator[DaskCluster]:
    with DaskCluster(workers.scheduler_address, source) as cluster:
        cluster.check()
        yield cluster


def bytes_in(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "a folder"
        )
        for path in folder.rglob("*")
    }


SETTINGS = ConversionSettings(tile=(2, 2), examples_per_shard=8)


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return bytes_in(convert(source, tmp_path_factory.mktemp("whole") / "out", SETTINGS).folder)


def test_tasks_run_on_both_workers_and_few_wait(cluster, tmp_path):
    taken, ahead, pids = 0, 0, []

    def tasks():
        nonlocal taken, ahead
        for number in range(60):
            taken += 1
            ahead = max(ahead, taken - len(pids))
            yield number

    run_tasks(process_of, tasks(), workers=cluster, finished=pids.append)
    assert len(pids) == 60
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    assert ahead <= 17


def test_the_bytes_are_those_of_the_local_pool(cluster, source, whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cluster.check(Path("out"))
    convert(source, Path("out"), SETTINGS, workers=cluster)
    assert bytes_in(tmp_path / "out") == whole


@pytest.mark.parametrize("stage", ["looking at images", "writing"])
def test_a_worker_killed_in_mid_run_changes_nothing(
    workers, cluster, source, whole, tmp_path, stage
):
    victims: list[int] = []

    def kill(now: str, done: int, total: int) -> None:
        if now == stage and done >= total // 4 and not victims:
            assert done < total
            with distributed.Client(workers.scheduler_address, set_as_default=False) as client:
                victims.extend(list(client.run(os.getpid).values())[:1])
            os.kill(victims[0], signal.SIGKILL)

    convert(source, tmp_path / "out", SETTINGS, workers=cluster, progress=kill)
    assert victims
    assert bytes_in(tmp_path / "out") == whole


def test_the_first_error_ends_all_tasks(cluster, tmp_path):
    begin = time.monotonic()
    tasks = [(tmp_path, number) for number in range(3, 40)]
    with pytest.raises(ImageError, match="number 3 is bad"):
        run_tasks(count_or_fail, tasks, workers=cluster, finished=lambda _: None)
    after = {path: path.read_text() for path in tmp_path.iterdir()}
    time.sleep(0.5)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == after, "tasks still run"
    assert len(after) <= 4
    assert time.monotonic() - begin < 8 * 37 / 2
    pids = []
    run_tasks(process_of, [1, 2], workers=cluster, finished=pids.append)  # it can be used again
    assert len(pids) == 2


def test_an_interrupt_ends_what_was_submitted(workers, cluster, tmp_path, request):
    tasks = [(tmp_path, number) for number in range(4, 40)]
    main = threading.main_thread().ident
    assert main is not None
    # Tests that run in the background inherit an ignored SIGINT; a command on a terminal does not.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    timer = threading.Timer(1.5, signal.pthread_kill, [main, signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run_tasks(count_or_fail, tasks, workers=cluster, finished=lambda _: None)
    after = {path: path.read_text() for path in tmp_path.iterdir()}
    time.sleep(0.5)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == after, "tasks still run"
    with distributed.Client(workers.scheduler_address, set_as_default=False) as client:
        assert not any(client.processing().values())


def test_a_task_that_kills_every_worker_is_told(cluster):
    with pytest.raises(ClusterError, match="several workers died at the same task"):
        run_tasks(os._exit, [3], workers=cluster, finished=lambda _: None)


def test_a_scheduler_that_does_not_answer(source):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ClusterError, match="no Dask scheduler answers within 1 s"):
            DaskCluster(address, source, timeout_s=1)
    with pytest.raises(ClusterError, match="no Dask scheduler answers"):
        DaskCluster("nonsense://x", source, timeout_s=1)


def test_without_dask_it_says_what_to_install(source, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install 'deadlib\[dask\]'"):
        DaskCluster("tcp://127.0.0.1:1", source)


def test_workers_that_see_other_folders_are_named(workers, source, tmp_path, monkeypatch):
    """A worker of another machine is imitated by one that is told of a folder that has changed."""
    moved = tmp_path / "source"
    moved.mkdir()
    with DaskCluster(workers.scheduler_address, moved) as cluster:
        (moved / "new.png").touch()
        with pytest.raises(ClusterError, match=r"worker tcp://.*: holds other files than there"):
            cluster.check()
        with pytest.raises(ClusterError, match="give paths on a file system that they share"):
            run_tasks(process_of, [1], workers=cluster, finished=lambda _: None)
        (moved / "new.png").unlink()
        moved.rmdir()
        with pytest.raises(ClusterError, match=r"source: cannot be read \(No such file"):
            cluster.check()
    out = tmp_path / "out"
    with DaskCluster(workers.scheduler_address, source) as cluster:
        monkeypatch.setattr(Path, "touch", lambda self: None)  # written elsewhere
        with pytest.raises(ClusterError, match=r"out: another folder than there"):
            cluster.check(out)
    assert not out.exists()


def test_a_cluster_lost_in_mid_run_is_told(source, tmp_path):
    script = tmp_path / "cluster.py"
    script.write_text(
        "import sys, distributed\n"
        "if __name__ == '__main__':\n"
        "    c = distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False,\n"
        "                                 protocol='tcp', dashboard_address=None)\n"
        "    print(c.scheduler_address, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()

    def kill(_: object) -> None:
        process.kill()

    with (
        DaskCluster(address, source, timeout_s=5) as cluster,
        pytest.raises(ClusterError, match="the scheduler was lost; start the same command"),
    ):
        run_tasks(abs, range(1000), workers=cluster, finished=kill)
    process.wait()
