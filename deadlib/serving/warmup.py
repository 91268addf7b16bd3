"""Requests that TensorFlow Serving answers to itself before it takes others.

The first request of a signature is slow, as much is set up then. TensorFlow Serving reads
`assets.extra/tf_serving_warmup_requests`, a TFRecord file of PredictionLog messages, when it loads
a version (tensorflow.org/tfx/serving/saved_model_warmup).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from deadlib.serving.golden import Golden

WARMUP = "tf_serving_warmup_requests"


def write_warmup(folder: Path, model: str, signatures: Iterable[str], golden: Golden) -> Path:
    """Write one request for each signature, about the first of the stored images."""
    path = folder / WARMUP
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in signatures:
            spec = model_pb2.ModelSpec(name=model, signature_name=signature)
            request = predict_pb2.PredictRequest(model_spec=spec)
            for name, tensor in golden.inputs(signature)[0].items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor.numpy()[:1]))
            asked = prediction_log_pb2.PredictLog(request=request)
            log = prediction_log_pb2.PredictionLog(predict_log=asked)
            writer.write(log.SerializeToString())
    return path
