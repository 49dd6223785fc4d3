"""What travels beside each request: a request id, the trace that the caller is in, and a plain-text token."""

from __future__ import annotations

import sys
import uuid

Metadata = tuple[tuple[str, str], ...]


def call_metadata(token: str) -> Metadata:
    """The metadata of one logical call; all its tries carry the same request id."""
    pairs = [("x-request-id", uuid.uuid4().hex), *_trace()]
    if token:
        pairs.append(("authorization", f"Bearer {token}"))
    return tuple(pairs)


def _trace() -> list[tuple[str, str]]:
    """The W3C trace context, where the program uses OpenTelemetry: a program that never imported it is in no trace."""
    if "opentelemetry.trace" not in sys.modules:
        return []
    from opentelemetry import propagate  # noqa: PLC0415 - optional, and imported by the program already

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return [(key.lower(), value) for key, value in carrier.items()]
