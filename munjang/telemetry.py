"""Logs and traces, set up once, by the programs only, when they start. The programs decide what to log and trace.

Every module of munjang logs with `structlog.get_logger()`; until `setup_logging` has run, structlog's defaults apply.
Log lines of libraries (grpc, transformers, rq) have the same format. Traces cost nothing if no endpoint is set:
`setup_tracing` then returns None, and nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import urlsplit

import structlog

from munjang.errors import ConfigurationError
from munjang.network import is_loopback

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from structlog.types import Processor

    from munjang.settings import Settings


NO_PROXY: Any = (("grpc.enable_http_proxy", 0),)  # OpenTelemetry types the values as str


def setup_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Send logs of munjang and of libraries to `stream` (standard error), as the settings say."""
    out = stream or sys.stderr
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and out.isatty())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(as_text, out)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.INFO))  # the debug lines of libraries are for their own developers
    for own in ("munjang", "munjang_server", "munjang_worker", "munjang_trainer"):
        logging.getLogger(own).setLevel(level)


def setup_tracing(settings: Settings, service: str) -> TracerProvider | None:
    """A provider that exports spans to `settings.otlp_endpoint`; None if that is empty. Shut it down at the end.

    Raises:
        ConfigurationError: an endpoint is set, but OpenTelemetry is not installed.
    """
    if not settings.otlp_endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - only where traces are wanted
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - only where traces are wanted
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - only where traces are wanted
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - only where traces are wanted
    except ImportError as error:
        msg = "MUNJANG_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: pip install 'munjang[server]'"
        raise ConfigurationError(msg) from error
    insecure = not settings.otlp_endpoint.startswith("https://")
    address = urlsplit(settings.otlp_endpoint if "://" in settings.otlp_endpoint else f"//{settings.otlp_endpoint}")
    # A proxy of the environment is not for this machine, and must not see the headers of a plain connection.
    direct = insecure or is_loopback(address.hostname or "")
    exporter = OTLPSpanExporter(
        endpoint=settings.otlp_endpoint,
        insecure=insecure,
        channel_options=NO_PROXY if direct else None,
    )
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _renderers(as_text: bool, out: TextIO) -> list[Processor]:
    """The last steps of a log line. Tracebacks come without local variables: those may hold users' texts and tokens."""
    if as_text:
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain)]
    transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(transformer),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
