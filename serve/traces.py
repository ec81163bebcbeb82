"""Traces by OpenTelemetry: spans of jobs and of the stages of an inspection.

Those of requests are FastAPI's own. Spans go through OpenTelemetry's API and are dropped there
unless this process has its SDK set up: by `configure`, as the standard variables OTEL_* say, or by
Serve's own tracing. Decoders of untrusted input know nothing of it: their stages are spans made
here of the times that they report.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.environment_variables import OTEL_TRACES_EXPORTER
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
    OTEL_SDK_DISABLED,
    OTEL_SERVICE_NAME,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from pipeline.types import Inspection
from serve.problems import ProblemError

log = logging.getLogger("ray.serve.vidette")
_NAME = "vidette"
_NANO = 1e9  # in a second
_ENDPOINTS = (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT)


def configure() -> None:
    """Set the SDK up in this process if the environment asks for it, and nobody has done so yet.

    OTEL_TRACES_EXPORTER names exporters that are installed (`otlp`, `console`); an OTLP endpoint
    alone means `otlp`. Endpoint, headers, sampler, resource and the rest are read by the SDK. What
    cannot be set up is logged: no service fails for its traces.
    """
    environ = os.environ
    endpoint = any(environ.get(one) for one in _ENDPOINTS)
    names = environ.get(OTEL_TRACES_EXPORTER, "otlp" if endpoint else "none")
    wanted = [name.strip() for name in names.split(",") if name.strip() not in ("", "none")]
    disabled = environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true"
    if not wanted or disabled or isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    try:
        exporters = [_exporter(name) for name in wanted]
        made = Resource.create({"service.name": environ.get(OTEL_SERVICE_NAME, _NAME)})
        provider = TracerProvider(resource=made)
        for exporter in exporters:
            provider.add_span_processor(BatchSpanProcessor(exporter))
    except Exception as error:
        log.error("traces are not exported: %s", error)
    else:
        trace.set_tracer_provider(provider)


def _exporter(name: str) -> SpanExporter:
    if name == "otlp":
        protocol = os.environ.get(OTEL_EXPORTER_OTLP_TRACES_PROTOCOL) or os.environ.get(
            OTEL_EXPORTER_OTLP_PROTOCOL, "http/protobuf"
        )
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    found = next(iter(entry_points(group="opentelemetry_traces_exporter", name=name)), None)
    if found is None:
        raise LookupError(f"the exporter {name} is not installed: pip install 'vidette[otel]'")
    made: SpanExporter = found.load()()
    return made


@contextmanager
def span(
    name: str,
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Context | None = None,
) -> Iterator[Span]:
    """A span around what is done here; a problem makes it an error."""
    with trace.get_tracer(_NAME).start_as_current_span(
        name, parent, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except Exception as error:
            code = error.code if isinstance(error, ProblemError) else type(error).__name__
            made.set_attribute("error.type", code)
            made.set_status(StatusCode.ERROR, str(error))
            raise


def carried() -> dict[str, str]:
    """The trace that goes on here, for what is done later and elsewhere."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


@contextmanager
def of_job(carrier: Mapping[str, str], name: str, attempt: int) -> Iterator[Span]:
    """The span of an inspection that was accepted before; it belongs to the trace of its request.

    Args:
        carrier: see `carried`.
        name: its ID.
        attempt: number of the attempt, from 1 on.
    """
    facts: dict[str, AttributeValue] = {
        "vidette.inspection.id": name,
        "vidette.inspection.attempt": attempt,
    }
    parent = propagate.extract(carrier)
    with span("inspection", facts, kind=SpanKind.CONSUMER, parent=parent) as made:
        yield made


def stages(made: Span, asked: float, forked: float, result: Inspection, *, report: bool) -> None:
    """Write into the span of an inspection that was done elsewhere what it found and its stages.

    Args:
        made: the span.
        asked: time at which a process was asked for, s since 1970.
        forked: time at which it was there.
        result: of the inspection; its `timings` tell the stages.
        report: whether a report was written after it.
    """
    if not made.is_recording():
        return
    made.set_attribute("vidette.defects", len(result.defects))
    made.set_attribute("vidette.coverage", result.coverage.state)
    if result.asset is not None:
        made.set_attribute("vidette.duration", result.asset.duration)
    took, now = result.timings, time.time()
    done = min(forked + took.get("wall", 0.0), now)
    opened = min(forked + took.get("open", 0.0), done)
    found = [("fork", asked, forked), ("open", forked, opened), ("examine", opened, done)]
    if report:
        found.append(("report", done, now))
    tracer = trace.get_tracer(_NAME)
    for name, start, end in found:
        stage = tracer.start_span(name, start_time=round(start * _NANO))
        if name == "examine":
            for part in ("decode", "detect"):  # take turns, about once a second of presentation
                stage.set_attribute(f"vidette.{part}_seconds", took.get(part, 0.0))
        stage.end(round(end * _NANO))
