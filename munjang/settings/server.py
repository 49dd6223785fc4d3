"""Settings: how the gRPC server listens, admits and stops."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from munjang.settings.batching import BatchSettings
from munjang.settings.kinds import Positive, Seconds


class ServerSettings(BatchSettings):
    """How the gRPC server listens, admits and stops."""

    host: str = Field(
        default="127.0.0.1",
        description="The address to listen on. Set 0.0.0.0 (or ::) to be reached from other machines.",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=50051, description="The port to listen on; 0 takes a free one and logs it."
    )
    aliases: str = Field(
        default="stable",
        description="The aliases to serve, with commas between. Add one (stable,canary) to have its version resident "
        "too.",
    )
    keep_previous: bool = Field(
        default=True,
        description="Keep the version that an alias named before resident, so that a rollback takes no loading. Turn "
        "it off where memory holds one model only.",
    )
    max_texts: Positive = Field(
        default=1024, description="The most texts in one call. Raise it for bulk clients; bigger calls wait longer."
    )
    max_text_chars: Positive = Field(
        default=200_000,
        description="The most characters in one text, a guard against accidents: tokenising costs time even where the "
        "rest is cut off.",
    )
    max_message_bytes: Positive = Field(
        default=16 * 1024 * 1024,
        description="The largest request message. Larger ones are refused before they are parsed.",
    )
    max_scores: Positive = Field(
        default=4 * 1024 * 1024,
        description="The most scores (queries × candidates) of one Similarity call: each takes 4 bytes of memory and, "
        "but for top-k, of the reply.",
    )
    default_deadline_seconds: Seconds = Field(
        default=60.0,
        description="The deadline of a call that brings none, since nothing waits for ever. Raise it for bulk callers "
        "that set no deadline of their own.",
    )
    stream_window: Positive = Field(
        default=8,
        description="Batches of one EncodeStream call that are worked on at a time. Raise it for far-away clients, "
        "lower it to save memory where there are many streams.",
    )
    inline_chars: Annotated[int, Field(ge=0)] = Field(
        default=1024,
        description="Requests of at most so many characters are tokenised on the event loop, larger ones on a thread. "
        "Lower it if one slow tokeniser holds up other calls.",
    )
    tokenize_threads: Positive = Field(
        default=2,
        description="Threads that tokenise large requests and pack large replies. Raise it where the GPU waits for "
        "them.",
    )
    embedding_cache_mb: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Megabytes of memory for vectors of texts that were encoded before, so that a text that comes "
        "again takes no forward; 0: none are kept. Set it where callers repeat themselves, as in search queries. "
        "One takes about 480 vectors of 384 components.",
    )
    reflection: bool = Field(
        default=True,
        description="Serve gRPC reflection, so that grpcurl and the like need no proto files. Turn it off to hide the "
        "API.",
    )
    drain_seconds: Seconds = Field(
        default=25.0,
        description="How long calls in flight may finish after SIGTERM. Keep it under the orchestrator's grace period.",
    )
    lame_duck_seconds: Annotated[float, Field(ge=0)] = Field(
        default=1.0,
        description="How long new calls are still taken after SIGTERM, part of drain_seconds, while health already "
        "says NOT_SERVING and load balancers turn away. Raise it where they notice late; Ctrl-C skips it.",
    )
    max_connection_age_seconds: Annotated[float, Field(ge=0)] = Field(
        default=0,
        description="Connections older than this are asked to reconnect, so that clients find new replicas; 0 never. "
        "Set a few minutes behind a headless Kubernetes service.",
    )
    tls_cert: str = Field(
        default="",
        description="The server's PEM certificate chain. Set it with tls_key to serve TLS; the files are read again "
        "when they change.",
    )
    tls_key: str = Field(default="", description="The PEM private key of tls_cert.")
    tls_client_ca: str = Field(
        default="",
        description="PEM certificates of the authorities that sign clients. Set it to accept only clients that have a "
        "certificate (mutual TLS).",
    )
    tokens_file: str = Field(
        default="",
        description="The file of bearer tokens, as `munjang serve token new` writes it. Set it to accept only "
        "callers that have one; it is read again when it changes.",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        description="The address of the Prometheus metrics page. Set 0.0.0.0 to be scraped from other machines.",
    )
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=0, description="The port of the Prometheus metrics page, http://HOST:PORT/metrics; 0 serves none."
    )
    slow_seconds: Seconds = Field(
        default=1.0,
        description="Calls that take longer are logged at level info; faster ones that succeed only at debug.",
    )
