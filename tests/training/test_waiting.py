"""The share of time spent waiting for input, whether or not a step blocks."""

from __future__ import annotations

import pytest

from deadlib.recipe import InputSection
from deadlib.training.waiting import Clock, advice


class Device:
    """A clock that is told how long everything takes; steps queue up as on a GPU, or block."""

    def __init__(self, step_seconds: float, input_seconds: float, queues: bool) -> None:
        self.step_seconds, self.input_seconds, self.queues = step_seconds, input_seconds, queues
        self.now, self.free_at, self.idle = 0.0, 0.0, 0.0
        self.ready_at = input_seconds

    def finish(self) -> None:
        self.now = max(self.now, self.free_at)

    def next_batch(self) -> None:
        """The input prepares one batch after another, and holds one ready."""
        self.now = max(self.now, self.ready_at)
        self.ready_at = max(self.ready_at, self.now - self.input_seconds) + self.input_seconds

    def step(self) -> None:
        self.idle += max(self.now - self.free_at, 0.0)
        self.free_at = max(self.now, self.free_at) + self.step_seconds
        if not self.queues:
            self.now = self.free_at


@pytest.mark.parametrize("queues", [True, False])
@pytest.mark.parametrize(
    ("step_seconds", "input_seconds"), [(1.0, 0.5), (1.0, 1.1), (1.0, 2.0), (0.1, 1.0)]
)
def test_the_share_is_that_of_the_time_in_which_the_device_is_idle(
    step_seconds: float, input_seconds: float, queues: bool
) -> None:
    device = Device(step_seconds, input_seconds, queues)
    clock = Clock(device.finish, every=16 if queues else 1, now=lambda: device.now)
    for _ in range(400):
        clock.waiting(device.next_batch)
        device.step()
    device.finish()
    seconds, waited = clock.read()
    assert seconds == pytest.approx(device.now)
    assert waited / seconds == pytest.approx(device.idle / seconds, abs=0.05)


def test_the_first_batch_counts_once() -> None:
    device = Device(1.0, 0.0, queues=True)
    device.ready_at = 5.0
    clock = Clock(device.finish, every=16, now=lambda: device.now)
    clock.waiting(device.next_batch)
    device.step()
    device.finish()
    assert clock.read() == (6.0, 5.0)
    assert clock.read() == (0.0, 0.0)


def test_little_waiting_needs_no_advice() -> None:
    assert advice(0.1, InputSection()) is None


@pytest.mark.parametrize(
    ("cache", "named"),
    [("auto", "in memory already"), ("off", "or disk"), ("disk", "SSD"), ("memory", "batch")],
)
def test_advice_names_what_is_not_done_yet(cache: str, named: str) -> None:
    found = advice(0.42, InputSection.model_validate({"cache": cache}))
    assert found is not None
    assert found.startswith("42% of the time")
    assert named in found
