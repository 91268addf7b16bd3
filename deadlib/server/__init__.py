"""Exported models behind a web server: TensorFlow Serving's API, plain image files, and a page."""

from deadlib.server.app import create_app
from deadlib.server.settings import Settings

__all__ = ["Settings", "create_app"]
