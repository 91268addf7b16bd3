"""Run by test_devices.py in a process of its own: the same recipe on one device and on two.

    python one_and_two_devices.py RECIPE OUT

Prints JSON: the history of each.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tensorflow as tf

from deadlib.recipe import load_recipe
from deadlib.training import train


def main(recipe_path: str, out: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    found = {}
    for strategy in ("one", "mirrored"):
        recipe = load_recipe(recipe_path, [f"training.strategy={strategy}"])
        run = train(recipe, Path(out) / strategy)
        found[strategy] = run.history.to_dict("list")
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
