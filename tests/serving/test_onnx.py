"""An ONNX file answers as the SavedModel does, or is not written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from deadlib.errors import ExportError
from deadlib.runs import Run
from deadlib.serving import onnx_file, open_bundle
from deadlib.serving.golden import GOLDEN, Golden

for library in ("tf2onnx", "onnx", "onnxruntime"):
    pytest.importorskip(library, reason=f"ONNX NOT TESTED: {library} is not installed")


@pytest.fixture(scope="module")
def golden(out: Path) -> Golden:
    return Golden.read(open_bundle(out).folder / "assets.extra" / GOLDEN)


@pytest.mark.parametrize("size_px", [(16, 16), (64, 20), (37, 51), (80, 90)])
def test_images_are_resized_as_tensorflow_does(size_px: tuple[int, int]) -> None:
    images = np.random.default_rng(0).random((2, 37, 51, 2)).astype(np.float32)
    found = onnx_file.resized(tf.constant(images), size_px)
    expected = tf.image.resize(images, size_px, antialias=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_it_answers_images_of_any_size_as_the_saved_model_does(
    shared_run: Run, out: Path, golden: Golden, tmp_path: Path
) -> None:
    import onnx
    import onnxruntime

    assert onnx_file.write_onnx(tmp_path, shared_run, golden) <= 1e-4
    path = tmp_path / onnx_file.ONNX
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == shared_run.classes
    images = np.random.default_rng(1).random((3, 40, 33, 1)).astype(np.float32)
    probability, embedding = session.run(["probability", "embedding"], {"image": images})
    answer = open_bundle(out).signatures["serving_default"](image=images)
    np.testing.assert_allclose(probability, answer["probability"], atol=1e-4)
    np.testing.assert_allclose(embedding, answer["embedding"], atol=1e-4)


def test_a_disagreeing_file_is_not_left_behind(
    shared_run: Run, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "resized", lambda images, size_px: tf.zeros((1, *size_px, 1)))
    with pytest.raises(ExportError, match="as ONNX it differs from the network by"):
        onnx_file.write_onnx(tmp_path, shared_run, golden)
    assert list(tmp_path.iterdir()) == []


def test_answers_that_are_no_numbers_do_not_agree(golden: Golden) -> None:
    class Broken:
        def run(self, names: list[str], asked: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [golden.answers[name][:1] * np.nan for name in names]

    assert not onnx_file._difference(Broken(), golden) <= 1e-4


def test_a_missing_library_is_one_sentence(
    shared_run: Run, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ExportError, match=r"tf2onnx.*pip install 'deadlib\[onnx\]'"):
        onnx_file.write_onnx(tmp_path, shared_run, golden)


def test_what_cannot_be_converted_is_one_message(
    shared_run: Run, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def eager_only(images: tf.Tensor, size_px: tuple[int, int]) -> tf.Tensor:
        raise NotImplementedError("no such operation\nand more")

    monkeypatch.setattr(onnx_file, "resized", eager_only)
    with pytest.raises(ExportError, match=r"NotImplementedError: .*no such operation"):
        onnx_file.write_onnx(tmp_path, shared_run, golden)
