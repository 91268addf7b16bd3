"""A run as a SavedModel that TensorFlow Serving, or TensorFlow alone, can answer from."""

from deadlib.serving.export import export

__all__ = ["export"]
