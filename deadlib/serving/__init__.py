"""A run as a SavedModel that TensorFlow Serving, or TensorFlow alone, can answer from."""

from deadlib.serving.bundle import Bundle, open_bundle
from deadlib.serving.export import export

__all__ = ["Bundle", "export", "open_bundle"]
