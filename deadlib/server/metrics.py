"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one application; two in a process do not share them."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """waiting: images in the queue, asked when the metrics are read."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "deadlib_requests",
            "Requests answered, by route, model and HTTP status.",
            ["route", "model", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "deadlib_request_seconds",
            "Seconds from a request's arrival to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.images = Counter(
            "deadlib_images",
            "Images, by model and what became of them (answered, refused).",
            ["model", "outcome"],
            registry=self.registry,
        )
        self.refusals = Counter(
            "deadlib_refusals",
            "Requests refused because too much was waiting.",
            ["model"],
            registry=self.registry,
        )
        self.batch_images = Histogram(
            "deadlib_batch_images",
            "Images that the model saw together.",
            ["model", "signature"],
            buckets=_IMAGES,
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "deadlib_batch_seconds",
            "Seconds of one batch in the model.",
            ["model", "signature"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.versions = Gauge(
            "deadlib_version_served",
            "1 for each version of a model that is served.",
            ["model", "version"],
            registry=self.registry,
        )
        self.load_failures = Counter(
            "deadlib_load_failures",
            "Versions that could not be loaded.",
            ["model"],
            registry=self.registry,
        )
        self.golden_difference = Gauge(
            "deadlib_golden_difference",
            "How far answers to the stored examples lie from the stored answers; above 0.0001 the "
            "model does not answer as it did when it was exported.",
            ["model", "version", "signature"],
            registry=self.registry,
        )
        queue = Gauge("deadlib_queue_images", "Images that wait.", registry=self.registry)
        queue.set_function(waiting)

    def text(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
