"""The REST API of TensorFlow Serving, asked of a real exported model."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from fastapi.testclient import TestClient

from deadlib.server.pages import PIECE_BYTES
from deadlib.server.rest import _rows
from deadlib.server.tensors import BadRequestError, PredictRequest, TensorInfo
from tfrecords_tools.images import read_image


@pytest.fixture(scope="module")
def files(dataset_folder: Path) -> list[Path]:
    return sorted((dataset_folder / "images").rglob("*.png"))[::8]


@pytest.fixture(scope="module")
def expected(exported: Path, files: list[Path]) -> dict[str, np.ndarray]:
    """What TensorFlow alone answers for the files, one at a time."""
    loaded = tf.saved_model.load(str(exported))
    answers = [loaded.signatures["encoded"](tf.constant([path.read_bytes()])) for path in files]
    return {name: np.concatenate([a[name].numpy() for a in answers]) for name in answers[0]}


def encoded(path: Path) -> dict[str, str]:
    return {"b64": base64.b64encode(path.read_bytes()).decode()}


def predict(client: TestClient, document: Any, place: str = "first") -> tuple[int, Any]:
    answer = client.post(f"/v1/models/{place}:predict", json=document)
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, answer.json()


def test_files_are_answered_as_tensorflow_answers_them(
    client: TestClient, files: list[Path], expected: dict[str, np.ndarray]
) -> None:
    rows = {"signature_name": "encoded", "instances": [encoded(path) for path in files]}
    status, answer = predict(client, rows)
    assert status == 200
    found = answer["predictions"]
    assert set(found[0]) == set(expected)
    assert [row["class_name"] for row in found] == [
        name.decode() for name in expected["class_name"]
    ]
    assert [row["prediction_set"] for row in found] == expected["prediction_set"].tolist()
    for name in ("probability", "embedding", "out_of_distribution"):
        np.testing.assert_allclose([row[name] for row in found], expected[name], atol=1e-5)


def test_rows_and_columns_say_the_same(client: TestClient, files: list[Path]) -> None:
    images = [(read_image(path) / 65535).tolist() for path in files]
    _, rows = predict(client, {"instances": [{"image": image} for image in images]})
    _, columns = predict(client, {"inputs": images})
    for name, values in columns["outputs"].items():
        assert values == [row[name] for row in rows["predictions"]]


def test_evidence_can_be_asked_for_a_class_of_each_image(
    client: TestClient, files: list[Path]
) -> None:
    image = (read_image(files[0]) / 65535).tolist()
    instances = [{"image": image, "class_index": index} for index in (0, 1)]
    status, answer = predict(client, {"signature_name": "gradcam_of_class", "instances": instances})
    assert status == 200
    # one output only, so without its name
    maps = np.array(answer["predictions"])
    assert maps.ndim == 3
    assert not np.array_equal(maps[0], maps[1])


def test_status_and_metadata(client: TestClient) -> None:
    told = {
        "version": "1",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for place in ("first", "first/versions/1"):
        assert client.get(f"/v1/models/{place}").json() == {"model_version_status": [told]}
        metadata = client.get(f"/v1/models/{place}/metadata").json()
        assert metadata["model_spec"] == {"name": "first", "signature_name": "", "version": "1"}
        signatures = metadata["metadata"]["signature_def"]["signature_def"]
        image = signatures["serving_default"]["inputs"]["image"]
        assert image["dtype"] == "DT_FLOAT"
        assert image["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}] * 4
        assert signatures["encoded"]["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/other", 404, "Could not find any versions of model other"),
        ("GET", "/v1/models/first/versions/7", 404, "Could not find version 7 of model first"),
        ("GET", "/v1/models/other/metadata", 404, "Servable not found for request: Latest(other)"),
        ("GET", "/v1/models/first/labels/new", 400, "Unrecognized servable version label: new"),
        ("GET", "/v1/models/first/else", 400, "Malformed request: GET /v1/models/first/else"),
        ("GET", "/v1/models/../../etc", 400, "Malformed request"),
        ("POST", "/v1/models/first", 400, "Malformed request: POST /v1/models/first"),
        ("POST", "/v1/models/first:explain", 400, "Malformed request: POST"),
        ("POST", "/v1/models/other:predict", 404, "Servable not found for request: Latest(other)"),
        (
            "POST",
            "/v1/models/first/versions/7:predict",
            404,
            "Servable not found for request: Specific(first, 7)",
        ),
        (
            "POST",
            f"/v1/models/first/versions/{2**63}:predict",
            400,
            f"Failed to convert version: {2**63} to numeric.",
        ),
        (
            "POST",
            "/v1/models/first:classify",
            400,
            "Expected classification signature method_name to be tensorflow/serving/classify. "
            "Was: tensorflow/serving/predict",
        ),
        (
            "POST",
            "/v1/models/first:regress",
            400,
            "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/predict",
        ),
    ],
)
def test_what_is_not_there_is_refused_as_tensorflow_serving_does(
    client: TestClient, method: str, path: str, status: int, message: str
) -> None:
    body = {"instances": [[[[0.5]]]], "examples": [{"x": 1}]} if method == "POST" else None
    answer = client.request(method, path.replace("..", "%2e%2e"), json=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"signature_name": "none", "inputs": [1]},
            'signature name: "none" not found in signature',
        ),
        ({"inputs": [[1, 2]]}, "input image has the shape [1, 2], expected [-1, -1, -1, -1]"),
        (
            {
                "signature_name": "gradcam_of_class",
                "inputs": {"image": [[[[1]]]], "class_index": []},
            },
            "inputs of different or no size along the first axis",
        ),
        (
            {"instances": np.full((1, 16, 16, 1), 7).tolist()},
            "assertion failed: [deadlib: expected intensities in 0-1",
        ),
        (
            {"instances": np.zeros((2, 16, 16, 3)).tolist()},
            "assertion failed: [deadlib: this model takes 1 channels (intensity), found] [3]",
        ),
        (
            {"signature_name": "encoded", "instances": [{"b64": "/////w=="}]},
            "assertion failed: [deadlib: not a PNG, JPEG or BMP file",
        ),
        ({"instances": [[[["a"]]]]}, "Failed to process element: 0 of 'instances' list. Error: "),
    ],
)
def test_what_a_model_cannot_take_is_a_bad_request(
    client: TestClient, document: Any, message: str
) -> None:
    status, answer = predict(client, document)
    assert status == 400
    assert message in answer["error"]
    assert "Traceback" not in answer["error"]


def test_no_request_of_the_page_may_be_as_large_as_one_for_the_model(client: TestClient) -> None:
    claimed = {"Content-Length": str(PIECE_BYTES + 1)}
    for path in ("/jobs", "/jobs/x/files"):
        assert client.post(path, headers=claimed).status_code == 413
    assert client.put("/jobs/x/files/0?start=0", headers=claimed).status_code == 413


@pytest.mark.parametrize("verb", ["predict", "classify", "regress"])
def test_a_body_takes_up_room_while_it_arrives(
    exported: Path, serving: Callable[..., Any], verb: str
) -> None:
    with serving(exported.parent, queue_bytes=100, queue_images=1) as client:
        batcher = client.app.state.models._batcher
        with batcher.admitted(100):
            answer = client.post(f"/v1/models/first:{verb}", content=b"[]")
    assert answer.status_code == 503


def test_what_was_read_for_the_version_before_is_refused_in_words() -> None:
    asked = PredictRequest("serving_default", True, {"picture": np.zeros((1, 4, 4, 1))})
    with pytest.raises(BadRequestError, match="inputs picture, expected image, as a new version"):
        _rows(asked, {"image": TensorInfo("DT_FLOAT", (-1, -1, -1, 1))})
