"""How much the server takes at once, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Settings:
    """Limits of a server; each keeps memory bounded, whatever is sent."""

    largest_batch: int = 32
    """Images that the model sees together."""
    largest_batch_bytes: int = 512 * MIB
    """Of the inputs of one batch, as float32."""
    delay_seconds: float = 0.005
    """How long the first image of a batch waits for others while the model is idle."""
    queue_images: int = 256
    """Images that may wait; more are refused at once with 503 and Retry-After."""
    queue_bytes: int = 2048 * MIB
    """Of the inputs that may wait."""
    largest_request_bytes: int = 256 * MIB
    read_seconds: float = 120.0
    """How long a request may take to arrive: one that is being read takes up room in the queue."""
    largest_image_px: int = 64 * MIB
    """Height x width of one image."""
    most_files: int = 1000
    """Files of one request, and frames of one file."""
    poll_seconds: float = 2.0
    """How often the folders of the models are looked at for a new version."""
    keep_versions: int = 1
    """How many of the highest versions are served."""
