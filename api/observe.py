"""What the service counts about itself, in the text format of Prometheus: `GET /metrics`.

Durations by route and status, refusals by code, decode failures by reason, verdicts, the calibrated
surprise of each technique (minus log10 of its false-alarm probability, whose drift shows that inputs or
detector changed), and gauges that are read when somebody asks. No label holds what a client chose: routes
are templates, methods are of a fixed set, so that no stranger can grow the memory. Nothing here is about a
caller or a file.

A gauge of another part is one line where the service starts: `metrics.gauge(name, text, function)`."""

import logging
import math
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from api.schemas import Detection

log = logging.getLogger(__name__)

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 15.0, 60.0)
SURPRISE = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The counters of one application, in a registry of their own. Safe to share between threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._gauges = _Gauges()
        self._registry.register(self._gauges)
        self._requests = Histogram(
            "earmark_request_seconds",
            "From the request's first byte to the answer's last.",
            ["route", "method", "status"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._refusals = Counter(
            "earmark_problems", "Answers that are problems, by code.", ["code"], registry=self._registry
        )
        self._decode_failures = Counter(
            "earmark_decode_failures",
            "Files that gave no audio, by reason.",
            ["reason"],
            registry=self._registry,
        )
        self._verdicts = Counter("earmark_verdicts", "Verdicts.", ["verdict"], registry=self._registry)
        self._surprise = Histogram(
            "earmark_evidence_surprise",
            "Minus log10 of the false-alarm probability of each technique.",
            ["technique"],
            buckets=SURPRISE,
            registry=self._registry,
        )

    def request(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """Count one answered request; `route` is the template, None for an address that nothing serves."""
        known = method if method in _METHODS else "other"
        self._requests.labels(route or "none", known, str(status)).observe(seconds)

    def problem(self, code: str, decode_failure: str | None) -> None:
        """Count one problem, and why the decoder gave up if it did."""
        self._refusals.labels(code).inc()
        if decode_failure is not None:
            self._decode_failures.labels(decode_failure).inc()

    def detection(self, found: Detection) -> None:
        """Count one verdict and what each technique saw, before any number is taken away."""
        self._verdicts.labels(found.verdict.value).inc()
        for row in found.evidence:
            if (p := row.false_alarm_probability) is not None:
                self._surprise.labels(row.technique.value).observe(-math.log10(max(p, 1e-300)))

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a number that is read when the metrics are. One that cannot be read is left out and logged."""
        self._gauges.readers.append((name, text, read))

    def text(self) -> bytes:
        """Everything, as Prometheus reads it. Blocks on whatever the gauges ask."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    def __init__(self) -> None:
        self.readers: list[tuple[str, str, Callable[[], float]]] = []

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: otherwise registering would read them, before the service is open."""
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, text, read in self.readers:
            try:
                value = read()
            except Exception as exc:
                log.warning("the gauge %s cannot be read: %s", name, exc)
                continue
            yield GaugeMetricFamily(name, text, value=value)
