"""The peak of memory is that of all processes together."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfrecords_tools.memory import memory_now, peak_memory

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="only Linux says it"
)

MIB = 1 << 20


def test_the_peak_outlives_what_made_it():
    with peak_memory() as peak:
        before = peak()
        block = bytearray(b"x" * (200 * MIB))
        deadline = time.monotonic() + 10
        while peak() < before + 150 * MIB and time.monotonic() < deadline:
            time.sleep(0.05)
        del block
        assert before + 150 * MIB < peak() < before + 450 * MIB
        assert memory_now() < peak() - 100 * MIB


def test_children_count():
    before = memory_now()
    script = "block = bytearray(b'x' * (100 << 20)); print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "ready\n"
        assert memory_now() > before + 90 * MIB
        child.communicate("\n")
