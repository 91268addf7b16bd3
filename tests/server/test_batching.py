"""Rows that arrive together are answered together, and a bad one harms nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadlib.server.batching import Batcher, OverloadedError, Row, TooManyImagesError, run_whole
from deadlib.server.settings import Settings

SETTINGS = Settings(largest_batch=4, delay_seconds=0.02, queue_images=8)


class Doubler:
    """A model that doubles numbers, cannot stand negative ones, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[Any, list[int]]] = []
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, key: Any, rows: list[int]) -> list[int]:
        self.may_go.wait(30)
        self.batches.append((key, rows))
        if min(rows) < 0:
            raise ValueError(f"{min(rows)} is negative")
        return [2 * row for row in rows]


def rows(*values: int, key: str = "a", nbytes: int = 1) -> list[Row]:
    return [Row(key, value, nbytes) for value in values]


def with_batcher(
    model: Doubler, scene: Callable[[Batcher], Awaitable[Any]], settings: Settings = SETTINGS
) -> Any:
    async def run() -> Any:
        batcher = Batcher(model, settings)
        batcher.start()
        try:
            return await scene(batcher)
        finally:
            model.may_go.set()
            await batcher.close()

    return asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_requests_that_come_together_share_a_batch() -> None:
    model = Doubler()

    async def scene(batcher: Batcher) -> list[list[int]]:
        return await asyncio.gather(*(batcher.ask(rows(i)) for i in range(4)))

    assert with_batcher(model, scene) == [[0], [2], [4], [6]]
    assert model.batches == [("a", [0, 1, 2, 3])]


def test_rows_of_different_keys_never_share_a_batch() -> None:
    model = Doubler()

    async def scene(batcher: Batcher) -> list[int]:
        return await batcher.ask([*rows(1, key="a"), *rows(2, key="b"), *rows(3, key="a")])

    assert with_batcher(model, scene) == [2, 4, 6]
    assert sorted(model.batches) == [("a", [1, 3]), ("b", [2])]


def test_no_batch_is_larger_than_allowed_in_rows_or_bytes() -> None:
    model = Doubler()

    async def scene(batcher: Batcher) -> list[int]:
        return await batcher.ask(rows(*range(8), nbytes=10))

    small = replace(SETTINGS, largest_batch_bytes=30)
    assert with_batcher(model, scene, small) == [2 * i for i in range(8)]
    assert [len(batch) for _, batch in model.batches] == [3, 3, 2]


def test_a_single_image_waits_no_longer_than_the_delay_for_company() -> None:
    model = Doubler()

    async def scene(batcher: Batcher) -> list[int]:
        return await asyncio.wait_for(batcher.ask(rows(21)), 30)

    assert with_batcher(model, scene) == [42]


@given(st.lists(st.integers(-3, 9), min_size=1, max_size=12))
def test_only_the_bad_rows_of_a_batch_fail(values: list[int]) -> None:
    answers = run_whole(Doubler(), "a", values)
    for value, answer in zip(values, answers, strict=True):
        if value < 0:
            assert isinstance(answer, ValueError)
            assert str(answer) == f"{value} is negative"
        else:
            assert answer == 2 * value


def test_a_bad_row_of_one_request_does_not_harm_another() -> None:
    async def scene(batcher: Batcher) -> list[list[Any]]:
        return await asyncio.gather(batcher.ask(rows(1, -1)), batcher.ask(rows(2)))

    (one, bad), (two,) = with_batcher(Doubler(), scene)
    assert (one, two) == (2, 4)
    assert isinstance(bad, ValueError)


def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    model = Doubler()
    model.may_go.clear()

    async def scene(batcher: Batcher) -> list[int]:
        first = asyncio.create_task(batcher.ask(rows(0)))
        await until(lambda: batcher.waiting == 0 and not first.done())
        await asyncio.sleep(0.05)  # the model has it, and holds it
        queued = asyncio.create_task(batcher.ask(rows(*range(7))))
        await until(lambda: batcher.waiting == 7)
        with pytest.raises(OverloadedError, match="7 images wait") as refused:
            await batcher.ask(rows(1, 2))
        assert refused.value.retry_after_seconds >= 1
        model.may_go.set()
        await asyncio.gather(first, queued)
        return await batcher.ask(rows(1, 2))

    assert with_batcher(model, scene) == [2, 4]


def test_bytes_fill_the_queue_too() -> None:
    model = Doubler()
    model.may_go.clear()

    async def scene(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.ask(rows(0, nbytes=60)))
        second = asyncio.create_task(batcher.ask(rows(1, key="b", nbytes=60)))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await batcher.ask(rows(2, nbytes=60))
        model.may_go.set()
        await asyncio.gather(first, second)

    with_batcher(model, scene, replace(SETTINGS, queue_bytes=150))


def test_requests_that_are_still_read_take_up_room() -> None:
    async def scene(batcher: Batcher) -> None:
        with ExitStack() as reading:
            for _ in range(SETTINGS.queue_images):
                reading.enter_context(batcher.admitted(1))
            with pytest.raises(OverloadedError), batcher.admitted(1):
                pass
        large = SETTINGS.queue_bytes
        with batcher.admitted(large + 1), pytest.raises(OverloadedError), batcher.admitted(1):
            pass
        with batcher.admitted(large), pytest.raises(OverloadedError), batcher.admitted(1):
            pass
        with batcher.admitted(1), batcher.admitted(1):
            pass

    with_batcher(Doubler(), scene)


def test_what_can_wait_waits_for_room() -> None:
    model = Doubler()

    async def scene(batcher: Batcher) -> list[list[int]]:
        asked = [batcher.ask(rows(*range(6)), patient=True) for _ in range(5)]
        return await asyncio.wait_for(asyncio.gather(*asked), 30)

    assert with_batcher(model, scene) == [[0, 2, 4, 6, 8, 10]] * 5


def test_a_request_larger_than_the_queue_is_refused_for_good() -> None:
    async def scene(batcher: Batcher) -> None:
        with pytest.raises(TooManyImagesError, match=r"9 images .* at most 8"):
            await batcher.ask(rows(*range(9)), patient=True)

    with_batcher(Doubler(), scene)


def test_a_request_that_was_given_up_is_not_computed() -> None:
    model = Doubler()
    model.may_go.clear()

    async def scene(batcher: Batcher) -> list[int]:
        held = asyncio.create_task(batcher.ask(rows(0)))
        await asyncio.sleep(0.05)
        given_up = asyncio.create_task(batcher.ask(rows(5, 6)))
        await until(lambda: batcher.waiting == 2)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        model.may_go.set()
        await held
        return await batcher.ask(rows(7))

    assert with_batcher(model, scene) == [14]
    assert [batch for _, batch in model.batches] == [[0], [7]]


def test_closing_answers_what_waits_first() -> None:
    model = Doubler()
    settings = replace(SETTINGS, delay_seconds=60)

    async def scene(batcher: Batcher) -> list[int]:
        asked = asyncio.create_task(batcher.ask(rows(1, 2)))
        await until(lambda: batcher.waiting == 2)
        await batcher.close()
        return await asked

    async def run() -> list[int]:
        batcher = Batcher(model, settings)
        batcher.start()
        return await scene(batcher)

    assert asyncio.run(run()) == [2, 4]
