"""Run by test_metric.py in a process of its own: every metric loss on one device and on two.

Prints JSON: for `one` and `two` and each loss its value on each replica, and the gradient of the
mean over replicas, with regard to a matrix that makes the embeddings (and the proxies).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tensorflow as tf


def main() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from test_metric import CLASS_INDEX, EMBEDDINGS, LOSSES, PLATE_INDEX

    from deadlib.losses import ProxyAnchorLoss

    names = [device.name for device in tf.config.list_logical_devices("CPU")]
    strategies = {
        "one": tf.distribute.get_strategy(),
        "two": tf.distribute.MirroredStrategy(names),
    }
    found: dict[str, Any] = {}
    for many, strategy in strategies.items():
        with strategy.scope():
            losses = {**LOSSES, "proxy_anchor": ProxyAnchorLoss(5, EMBEDDINGS.shape[1], seed=1)}
            matrix = tf.Variable(np.eye(EMBEDDINGS.shape[1], dtype=np.float32))
        found[many] = {
            name: measured(strategy, loss, matrix, (CLASS_INDEX, EMBEDDINGS, PLATE_INDEX))
            for name, loss in losses.items()
        }
    print(json.dumps(found))


def measured(strategy: Any, loss: Any, matrix: Any, batch: Any) -> dict[str, Any]:
    replicas, first = strategy.num_replicas_in_sync, 17
    learnt = [matrix, *(variable.value for variable in loss.variables)]

    def on_replica() -> tuple[Any, Any]:
        context = tf.distribute.get_replica_context()
        bounds = tf.constant([0, first if replicas > 1 else len(batch[0]), len(batch[0])])
        place = context.replica_id_in_sync_group
        classes, embeddings, plates = (part[bounds[place] : bounds[place + 1]] for part in given)
        with tf.GradientTape() as tape:
            value = loss(classes, embeddings @ matrix, plates)
            share = value / replicas
        gradients = tape.gradient(share, learnt)
        flat = tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], axis=0)
        return value, flat

    given = [tf.constant(part) for part in batch]
    values, gradients = tf.function(lambda: strategy.run(on_replica))()
    total = strategy.reduce(tf.distribute.ReduceOp.SUM, gradients, axis=None)
    each = strategy.experimental_local_results(values)
    return {"values": [float(value) for value in each], "gradient": total.numpy().tolist()}


if __name__ == "__main__":
    main()
