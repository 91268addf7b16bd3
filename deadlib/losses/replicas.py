"""What all devices hold of a batch, together on each of them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def of_all_replicas(*shares: Any) -> tuple[Any, ...]:
    """Tensors (B, ...) of this replica's examples as those of all replicas, (N, ...), in order.

    Replicas may hold different numbers of examples. Where there is one replica alone, and outside
    of a strategy, the tensors themselves. Gradients flow back to the replica that the examples
    stand on, from all replicas: of a value that each computes alike from what it is given here,
    the mean of the replicas' gradients is the gradient on one device.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tuple(tf.convert_to_tensor(share) for share in shares)
    # Sums instead of all_gather, which wants shares of one size on GPUs.
    total = tf.distribute.ReduceOp.SUM
    here = tf.shape(shares[0])[0]
    place = tf.one_hot(context.replica_id_in_sync_group, context.num_replicas_in_sync, here, 0)
    sizes = context.all_reduce(total, place)
    before = tf.reduce_sum(sizes[: context.replica_id_in_sync_group])
    after = tf.reduce_sum(sizes) - before - here

    def whole(share: Any) -> Any:
        edges = tf.concat([[[before, after]], tf.zeros((len(share.shape) - 1, 2), tf.int32)], 0)
        return context.all_reduce(total, tf.pad(share, edges))

    return tuple(whole(tf.convert_to_tensor(share)) for share in shares)
