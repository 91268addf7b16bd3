"""What deadlib's web pages share: an application that is safe by default, its looks, its server."""

from deadlib.web.application import application
from deadlib.web.pages import page, report_page
from deadlib.web.raster import raster_response
from deadlib.web.server import serve

__all__ = ["application", "page", "raster_response", "report_page", "serve"]
