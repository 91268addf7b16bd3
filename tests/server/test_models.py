"""Versions come, answer and go, and what does not work is said."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deadlib.errors import WebError
from deadlib.server.models import (
    AVAILABLE,
    END,
    UNLOADING,
    Answer,
    Models,
    Refused,
    SlowRequestError,
)
from deadlib.server.settings import Settings
from tfrecords_tools.images import read_image

SETTINGS = Settings(poll_seconds=0.02, delay_seconds=0.001)


@pytest.fixture(scope="module")
def image(dataset_folder: Path) -> np.ndarray:
    return read_image(dataset_folder / "images" / "dead" / "dead00.png")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


def add_version(folder: Path, number: int, source: Path) -> None:
    """As an export does: a folder appears whole."""
    shutil.copytree(source, folder / f".{number}.partial")
    (folder / f".{number}.partial").rename(folder / str(number))


def test_a_new_version_takes_over_while_the_old_one_finishes(
    folder: Path, exported: Path, image: np.ndarray
) -> None:
    models = Models({"first": folder}, SETTINGS)
    models.load()

    async def scene() -> None:
        await models.start()
        with models.using("first") as old:
            add_version(folder, 2, exported)
            await until(lambda: old.state == UNLOADING)
            assert models.version("first").number == 2
            unit = {"image": image.astype(np.float32) / 65535}
            (late,) = await models.ask("first", old, [("serving_default", unit)])
            assert not isinstance(late, BaseException)
            (answer,) = await models.predict("first", [image])
            assert isinstance(answer, Answer)
            assert answer.version == 2
            assert old.state == UNLOADING
        await until(lambda: old.state == END)
        assert old.bundle is None

        shutil.rmtree(folder / "2")
        await until(lambda: models.version("first").number == 1)
        shutil.rmtree(folder)
        await asyncio.sleep(0.1)
        assert models.version("first").number == 1, "a folder that is away takes nothing down"
        await models.stop()

    asyncio.run(scene())


def test_a_broken_version_leaves_the_old_one_answering_until_it_is_whole(
    folder: Path, exported: Path
) -> None:
    models = Models({"first": folder}, SETTINGS)
    models.load()

    async def scene() -> None:
        await models.start()
        (folder / "2").mkdir()
        (folder / "2" / "saved_model.pb").write_bytes(b"half")
        first = models.model("first")
        assert first is not None
        await until(lambda: 2 in first.versions and first.versions[2].state == END)
        assert first.versions[2].error
        assert models.version("first").number == 1
        await asyncio.sleep(0.1)
        assert 'deadlib_load_failures_total{model="first"} 1.0' in models.metrics.text().decode()
        shutil.copytree(exported, folder / "2", dirs_exist_ok=True)
        await until(lambda: first.versions[2].state == AVAILABLE)
        await models.stop()

    asyncio.run(scene())


def test_answers_that_changed_since_the_export_are_warned_of(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder / "1" / "assets.extra" / "golden.npz"
    with np.load(path) as stored:
        golden = dict(stored)
    golden["probability"] = 1 - golden["probability"]
    np.savez_compressed(path, **golden)
    models = Models({"first": folder}, SETTINGS)
    models.load()
    (warning,) = models.version("first").warnings
    assert warning in caplog.text
    assert models.version("first").differences["serving_default"] > 0.01


def test_images_of_any_kind_are_answered_or_refused_one_by_one(
    exported: Path, image: np.ndarray
) -> None:
    models = Models({"first": exported.parent}, SETTINGS)
    models.load()
    images = [
        image,
        image.astype(np.float32) / 65535,
        (image // 257).astype(np.uint8),
        image[:20, :20],
        image[..., 0],
        image[:8],
        np.repeat(image, 3, axis=2),
        np.full_like(image, np.nan, dtype=np.float32),
        image.astype(np.float32),
        image.astype(np.float64),
    ]

    async def scene() -> list[Answer | Refused]:
        await models.start()
        found = await models.predict("first", images, explain=True)
        for_dead = await models.predict("first", images[:1], explain=True, class_index=0)
        await models.stop()
        return [*for_dead, *found]

    for_dead, *answers = asyncio.run(scene())
    assert [isinstance(answer, Answer) for answer in answers] == [True] * 4 + [False] * 6
    stored, unit, rounded = answers[:3]
    assert isinstance(stored, Answer)
    assert isinstance(unit, Answer)
    assert isinstance(rounded, Answer)
    assert stored.probability == unit.probability
    assert list(rounded.probability.values()) == pytest.approx(
        list(stored.probability.values()), abs=0.05
    )
    assert sum(stored.probability.values()) == pytest.approx(1)
    assert stored.evidence is not None
    assert stored.evidence.ndim == 2
    assert isinstance(for_dead, Answer)
    assert for_dead.evidence is not None
    same = np.allclose(for_dead.evidence, stored.evidence, atol=1e-5)
    assert same == (stored.class_name == "dead")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (".", r"holds no exported model .* make one: deadlib-export RUN FOLDER"),
        ("first/1", r"is one version of a model, expected the folder above it: .*first"),
        ("nowhere", "holds no exported model"),
    ],
)
def test_a_folder_without_a_model_is_refused_in_words(
    folder: Path, place: str, message: str
) -> None:
    with pytest.raises(WebError, match=message):
        Models({"first": folder.parent / place}, SETTINGS).load()


def test_a_model_that_cannot_be_loaded_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"half")
    with pytest.raises(WebError, match="model first: "):
        Models({"first": tmp_path}, SETTINGS).load()


def test_a_request_that_does_not_arrive_gives_its_room_back(tmp_path: Path) -> None:
    models = Models({"first": tmp_path}, Settings(read_seconds=0.01, queue_images=1))

    async def scene() -> None:
        for _ in range(2):
            with pytest.raises(SlowRequestError, match=r"did not arrive within 0\.01 s"):
                async with models.reading("first", "5"):
                    await asyncio.sleep(60)

    asyncio.run(scene())
