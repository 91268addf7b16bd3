"""Plain image files are answered one by one; and what else the server tells."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from fastapi.testclient import TestClient

from tfrecords_tools.images import read_image


@pytest.fixture(scope="module")
def image(dataset_folder: Path) -> np.ndarray:
    return read_image(dataset_folder / "images" / "dead" / "dead00.png")


def send(client: TestClient, *files: tuple[str, bytes], **options: Any) -> Any:
    return client.post("/predict", files=[("file", file) for file in files], **options)


def tiff(image: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def without(result: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in names}


def test_each_file_is_answered_as_the_model_answers_it(
    client: TestClient, dataset_folder: Path, exported: Path
) -> None:
    paths = sorted((dataset_folder / "images").rglob("*.png"))[::6]
    answer = send(client, *((path.name, path.read_bytes()) for path in paths))
    assert answer.status_code == 200
    assert answer.json()["version"] == 1
    results = answer.json()["results"]
    assert [result["file"] for result in results] == [path.name for path in paths]
    loaded = tf.saved_model.load(str(exported))
    for path, result in zip(paths, results, strict=True):
        expected = loaded.signatures["encoded"](tf.constant([path.read_bytes()]))
        names = [name.decode() for name in expected["class_names"].numpy()[0]]
        assert list(result["probability"]) == names
        np.testing.assert_allclose(
            list(result["probability"].values()), expected["probability"][0], atol=1e-5
        )
        assert result["class_name"] == expected["class_name"].numpy()[0].decode()
        inside = expected["prediction_set"].numpy()[0]
        chosen = [name for name, kept in zip(names, inside, strict=True) if kept]
        assert result["prediction_set"] == chosen
        assert result["unsure"] == (len(chosen) != 1)
        far = float(expected["out_of_distribution"][0])
        assert result["out_of_distribution"] == pytest.approx(far, abs=1e-5)
        assert result["unlike_training"] == (far > 0.99)
        assert "only the window of 16 x 16 px in the middle" in result["warnings"][0]


def test_formats_that_hold_the_same_pixels_get_the_same_answer(
    client: TestClient, dataset_folder: Path, image: np.ndarray
) -> None:
    png = (dataset_folder / "images" / "dead" / "dead00.png").read_bytes()
    files = [
        ("16 bit.png", png),
        ("16 bit.tif", tiff(image[..., 0])),
        ("float.tif", tiff((image[..., 0] / 65535).astype(np.float32))),
        ("compressed.tif", tiff(image[..., 0], compression="zlib")),
        ("named otherwise.jpg", png),
    ]
    first, *others = send(client, *files).json()["results"]
    for other in others:
        assert without(other, "file") == without(first, "file")


def test_a_bad_file_fails_alone(client: TestClient, image: np.ndarray) -> None:
    good = tiff(image[..., 0])
    files = [
        ("good.tif", good),
        ("cut.tif", good[: len(good) // 2]),
        ("empty.png", b""),
        ("<script>alert(1)</script>.png", b"GIF89a"),
        ("small.tif", tiff(image[:8, :8, 0])),
        ("colour.tif", tiff(np.repeat(image, 3, axis=2))),
        ("nan.tif", tiff(np.full((20, 20), np.nan, np.float32))),
        ("beyond.tif", tiff(np.full((20, 20), 7, np.float32))),
        ("good again.tif", good),
    ]
    answer = send(client, *files)
    assert answer.status_code == 200
    results = {result["file"]: result for result in answer.json()["results"]}
    assert list(results) == [name for name, _ in files]
    for name, words in {
        "cut.tif": "cut",
        "empty.png": "the file is empty",
        "<script>alert(1)</script>.png": "not a PNG, JPEG, BMP or TIFF file",
        "small.tif": "8 x 8 px; this model takes at least 16 x 16 px",
        "colour.tif": "the image has 3 channels; this model takes 1 (intensity)",
        "nan.tif": "not finite",
        "beyond.tif": "expected intensities in 0-1",
    }.items():
        assert words in results[name]["error"]
        assert "/tmp" not in results[name]["error"]
    first, again = results["good.tif"], results["good again.tif"]
    assert "class_name" in first
    assert without(first, "file") == without(again, "file")


def test_a_lapse_gives_a_result_for_each_frame(client: TestClient, image: np.ndarray) -> None:
    turned = np.stack([np.roll(image[..., 0], shift, axis=1) for shift in range(40)])
    lapse = tiff(turned, photometric="minisblack")
    results = send(client, ("lapse.tif", lapse)).json()["results"]
    assert [result["frame"] for result in results] == list(range(1, 41))
    frames = [(f"{i}.tif", tiff(frame)) for i, frame in enumerate(turned)]
    single = send(client, *frames).json()["results"]
    for one, other in zip(results, single, strict=True):
        assert without(one, "file", "frame") == without(other, "file")


def test_a_stack_in_z_is_refused(client: TestClient, image: np.ndarray) -> None:
    stack = tiff(np.stack([image[..., 0]] * 3), metadata={"axes": "ZYX"}, imagej=True)
    answer = send(client, ("stack.tif", stack))
    assert answer.status_code == 400
    assert "stack.tif: a stack of 3 planes in z" in answer.json()["error"]


def test_other_files_of_the_server_are_not_opened(
    client: TestClient, image: np.ndarray, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.ome.tif"
    tifffile.imwrite(secret, image[..., 0], ome=True)
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:1"><Image ID="Image:0"><Pixels DimensionOrder="XYCZT" ID="Pixels:0" '
        f'SizeC="1" SizeT="1" SizeZ="1" SizeX="{image.shape[1]}" SizeY="{image.shape[0]}" '
        'Type="uint16"><TiffData IFD="0" PlaneCount="1"><UUID '
        f'FileName="../../../../../..{secret}">urn:uuid:2</UUID></TiffData></Pixels></Image></OME>'
    )
    sent = tiff(image[..., 0], description=xml, metadata=None)
    answer = send(client, ("innocent.ome.tif", sent))
    assert answer.status_code == 400
    assert "spread over several files" in answer.json()["error"]


def test_large_images_are_refused_before_they_are_decoded(
    exported: Path, serving: Callable[..., Any], image: np.ndarray
) -> None:
    with serving(exported.parent, largest_image_px=600, most_files=5) as client:
        large = tiff(np.zeros((30, 30), np.uint16), compression="zlib")
        cut = large[:400]  # nothing to decode, were it tried
        lapse = tiff(np.zeros((6, 20, 20), np.uint16), photometric="minisblack")
        answer = send(client, ("large.tif", cut), ("long.tif", lapse))
        large_error, long_error = (result["error"] for result in answer.json()["results"])
        assert "30 x 30 px, expected at most" in large_error
        assert "holds 6 images, expected at most 5" in long_error
        many = send(client, *[("a.tif", large)] * 6)
        assert many.status_code == 400


@pytest.mark.parametrize("named", [{"metadata": None}, {"imagej": True}, {"ome": True}])
def test_many_channels_are_refused_before_they_are_decoded(
    client: TestClient, named: dict[str, Any]
) -> None:
    planes = np.zeros((9, 20, 20), np.uint8)
    if "metadata" in named:  # samples of one page, as a small file can promise thousands of them
        data = tiff(planes.transpose(1, 2, 0), photometric="minisblack", planarconfig="contig")
        data = data[: len(data) // 2]  # nothing to decode, were it tried
    else:
        data = tiff(planes, metadata={"axes": "CYX"}, photometric="minisblack", **named)
    answer = send(client, ("many.tif", data))
    assert answer.json()["results"][0]["error"] == "9 channels, expected at most 4"


def test_large_tiles_are_refused_before_they_are_decoded(
    exported: Path, serving: Callable[..., Any]
) -> None:
    with serving(exported.parent, largest_image_px=600) as client:
        data = tiff(np.zeros((20, 20), np.uint16), tile=(64, 64), compression="zlib")
        [result] = send(client, ("tiled.tif", data)).json()["results"]
        assert "64 x 64 px, expected at most" in result["error"]


def test_requests_that_hold_no_files_are_refused_in_words(client: TestClient) -> None:
    assert client.post("/predict", json={"file": 1}).status_code == 415
    assert client.post("/predict", files={}, data={"a": "b"}).status_code == 415
    unknown = send(client, ("a.png", b"x"), params={"model": "other"})
    assert unknown.status_code == 404
    assert unknown.json() == {"error": "Servable not found for request: Latest(other)"}
    large = client.post("/predict", headers={"Content-Length": str(2**40)})
    assert large.status_code == 413


def test_health_readiness_and_metrics(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json() == {"status": "ready", "versions": {"first": [1]}}
    client.get("/v1/models/first")
    text = client.get("/metrics").text
    for line in (
        'deadlib_requests_total{model="first",route="status",status="200"}',
        'deadlib_version_served{model="first",version="1"} 1.0',
        'deadlib_golden_difference{model="first",signature="serving_default",version="1"}',
        "deadlib_queue_images 0.0",
    ):
        assert line in text
    client.app.state.stopping = True  # type: ignore[attr-defined]
    assert client.get("/ready").status_code == 503
    client.app.state.stopping = False  # type: ignore[attr-defined]


def test_a_full_server_refuses_before_it_reads(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = client.app.state.models  # type: ignore[attr-defined]
    full = replace(models.settings, queue_images=0)
    monkeypatch.setattr(models._batcher, "_settings", full)
    for answer in (
        send(client, ("a.png", b"x")),
        client.post("/v1/models/first:predict", content=b"{"),
    ):
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["error"].startswith("The batch scheduling queue to which this task")
    refused = 'deadlib_refusals_total{model="first"} 2.0'
    assert refused in client.get("/metrics").text
