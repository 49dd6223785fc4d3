"""Settings of each program: server, worker, trainer, command line, and `munjang up`, which runs them together."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from munjang.settings.shared import EngineSettings, Positive, Seconds, Settings, Share


class BatchSettings(EngineSettings):
    """How the server forms batches, admits work and watches its engine."""

    queue_tokens: Annotated[int, Field(ge=2)] = Field(
        default=262_144,
        description="The most tokens that wait for a forward; past it calls are refused with RESOURCE_EXHAUSTED. One "
        "caller may hold at most as many as are still free, so half of them if alone. Lower it to refuse sooner.",
    )
    bulk_share: Share = Field(
        default=0.2,
        description="The share of the engine that streams and large batches keep under interactive load. Raise it if "
        "bulk work falls behind.",
    )
    interactive_seconds: Seconds = Field(
        default=0.15,
        description="A call whose forwards are expected to take longer than this waits in the bulk lane, with streams, "
        "so that short calls pass it. Raise it if people wait for long texts.",
    )
    bulk_turn_seconds: Seconds = Field(
        default=0.008,
        description="How long one bulk batch may run while interactive calls arrive, if only one forward can run "
        "at a time: the longest that they wait for it. Raise it for more bulk throughput, lower it for their latency.",
    )
    bulk_yield_seconds: Annotated[float, Field(ge=0)] = Field(
        default=5.0,
        description="How long after the last interactive call one stream stays free for the next, or bulk batches stay "
        "short. Raise it if interactive calls are rare and must be fast.",
    )
    probe_seconds: Seconds = Field(
        default=1.0,
        description="How often an idle or failing engine is tried with a forward of one short text. Raise it to let a "
        "battery or a shared GPU sleep.",
    )
    stall_seconds: Seconds = Field(
        default=3.0,
        description="A forward that takes longer than this and four times longer than expected, and makes no progress, "
        "counts as stuck: health reports NOT_SERVING and callers get an error. Raise it on machines that pause.",
    )


class ServerSettings(BatchSettings):
    """How the server listens, admits and stops."""

    host: str = Field(
        default="127.0.0.1",
        description="The address to listen on. Set 0.0.0.0 (or ::) to be reached from other machines.",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=50051, description="The port of gRPC to listen on; 0 takes a free one and logs it."
    )
    http_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8080,
        description="The port of HTTP (OpenAI's, TEI's and our own API as JSON); 0 serves none. Change it if another "
        "program has it.",
    )
    http_origins: str = Field(
        default="",
        description="The web origins whose pages may call over HTTP, separated by commas (https://app.example); * "
        "allows all. Empty: none but the server's own page. Set it for a browser application.",
    )
    playground: bool = Field(
        default=True,
        description="Serve a page at / of the HTTP port, to try the models and watch the server from a browser. Its "
        "files need no token, the calls that it makes do. Turn it off where nobody should find a page.",
    )
    http_connections: Positive = Field(
        default=1024,
        description="The most HTTP connections at a time. Past it the one that has been idle for longest is closed for "
        "a new one. Raise it for many clients that keep connections open, within the limit of open files.",
    )
    http_read_seconds: Seconds = Field(
        default=10.0,
        description="How long an HTTP client may take to send the head of a request, and again for its body. Raise it "
        "for large batches over slow lines.",
    )
    model_names: str = Field(
        default="",
        description="More names that HTTP callers may give as the model, NAME=VERSION with commas between, a version "
        "being a number, a space_id or an alias (text-embedding-3-small=stable); the name * stands for all others. Set "
        "it for clients with a name wired in.",
    )
    aliases: str = Field(
        default="stable,rerank",
        description="The aliases to serve, separated by commas; one that names nothing costs nothing. Add one "
        "(stable,rerank,canary) to have its version loaded too. The server is ready when the first is served: put "
        "rerank first, or alone, where there is only a cross-encoder.",
    )
    keep_previous: bool = Field(
        default=True,
        description="Keep the version that an alias named before loaded, so that a rollback needs no loading. Turn "
        "it off if memory holds one model only.",
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
        description="The deadline of a call without one, because nothing may wait forever. Raise it for bulk callers "
        "that set no deadline of their own.",
    )
    stream_window: Positive = Field(
        default=8,
        description="Batches of one EncodeStream call that are processed at a time. Raise it for far-away clients, "
        "lower it to save memory if there are many streams.",
    )
    inline_chars: Annotated[int, Field(ge=0)] = Field(
        default=1024,
        description="Requests of at most this many characters are tokenised on the event loop, larger ones on a "
        "thread. Lower it if one slow tokeniser delays other calls.",
    )
    tokenize_threads: Positive = Field(
        default=2,
        description="Threads that tokenise large requests and pack large replies. Raise it if the GPU waits for them.",
    )
    embedding_cache_mb: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Megabytes of memory for vectors of texts that were encoded before, so that a repeated text "
        "needs no forward; 0: none are kept. Set it if callers send the same texts again, such as search queries. "
        "One holds about 480 vectors of 384 components.",
    )
    reflection: bool = Field(
        default=True,
        description="Serve gRPC reflection, so that grpcurl and similar tools need no proto files. Turn it off to "
        "hide the API.",
    )
    drain_seconds: Seconds = Field(
        default=25.0,
        description="How long calls in flight may finish after SIGTERM. Keep it under the orchestrator's grace period.",
    )
    lame_duck_seconds: Annotated[float, Field(ge=0)] = Field(
        default=1.0,
        description="How long new calls are still accepted after SIGTERM, part of drain_seconds, while health already "
        "reports NOT_SERVING and load balancers stop sending. Raise it if they notice late; Ctrl-C skips it.",
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


class ClientSettings(Settings):
    """Where the command line finds a server."""

    target: str = Field(
        default="127.0.0.1:50051",
        description="The server that the command line calls, HOST:PORT; not set, that of a running `munjang up` goes "
        "first. Change it instead of writing --target each time.",
    )
    token: str = Field(default="", description="The bearer token to send. Set it if the server asks for one.")
    timeout: Seconds = Field(
        default=30.0,
        description="Seconds until a call of the command line is given up. Raise it for a slow server or long lists.",
    )
    tls: bool = Field(default=False, description="Encrypt calls, trusting the system's authorities. Set it for TLS.")
    ca: str = Field(
        default="",
        description="A PEM file of the authorities to trust instead of the system's. Set it for a private authority.",
    )
    cert: str = Field(default="", description="The client's own PEM certificate. Set it if the server asks for one.")
    key: str = Field(default="", description="The PEM private key of cert.")
    server_name: str = Field(
        default="",
        description="The name that the server's certificate is checked for, where it differs from the address. Set it "
        "behind a tunnel, or for a probe that calls 127.0.0.1.",
    )


class TrainerSettings(EngineSettings):
    """How the trainer runs."""

    model: str = Field(
        default="",
        description="A model folder or hub id to publish at the first run instead of the starter model, as `munjang "
        "versions publish` does.",
    )
    data: str = Field(
        default="",
        description="Where the data files of recipes are: a folder or an fsspec URL. Empty: where each recipe says. "
        "Change it to train on your own copy.",
    )
    runs: str = Field(
        default="",
        description="Where training runs are kept (data, checkpoints, curves, models). Empty: <home>/runs. Change it "
        "to put them on a larger disk.",
    )

    @property
    def runs_folder(self) -> Path:
        """The folder of runs, or its place under home."""
        return Path(self.runs).expanduser() if self.runs else self.home / "runs"


class WorkerSettings(EngineSettings):
    """How the bulk worker runs."""

    worker_processes: Positive = Field(
        default=1,
        description="Worker processes of one `munjang work`, each with its own model in memory. Raise it if one "
        "process leaves cores or a GPU idle; on a CPU they share the threads.",
    )
    shard_rows: Positive = Field(
        default=8192,
        description="Rows of one shard, the unit that a worker takes, commits and repeats after a crash. Raise it on a "
        "fast GPU or for short texts, lower it for long texts on a CPU. Rounded up to whole blocks of 1,024.",
    )
    max_error_rate: Share = Field(
        default=0.5,
        description="The share of failed rows above which a job fails, if the job does not set its own. Lower it if a "
        "missing vector is worse than a late one; 0 lets no row fail.",
    )
    max_row_chars: Positive = Field(
        default=1_000_000,
        description="The most characters in one row's text; a longer one becomes an error of that row. Lower it if "
        "such a row is a mistake.",
    )
    step_seconds: Positive = Field(
        default=4 * 3600,
        description="How long planning a job, one shard or its end may take, if the job has no limit of its own (rq's "
        "own default of 180 does not count as one). Lower it to give up on stuck storage sooner.",
    )
    step_attempts: Positive = Field(
        default=4,
        description="How often a step is tried, including tries that ended with the worker's death, before its job "
        "fails. Raise it on machines that are often taken away.",
    )
    heartbeat_seconds: Seconds = Field(
        default=5.0, description="How often a busy worker renews its lease. Lower it together with lease_seconds."
    )
    lease_seconds: Positive = Field(
        default=40,
        description="After this long without a heartbeat a worker counts as dead and its step goes to another. Raise "
        "it if machines pause for longer; at least three heartbeats.",
    )
    maintenance_seconds: Positive = Field(
        default=5, description="How often an idle worker looks for steps of dead workers. Lower it to take over sooner."
    )
    keep_seconds: Positive = Field(
        default=7 * 86400,
        description="How long the record of an ended job stays in Redis; its output folder is not touched. Raise it "
        "for audits.",
    )
    input_roots: str = Field(
        default="",
        description="Places that jobs may read, paths or URLs separated by commas; empty allows all. Set it if "
        "others may submit jobs.",
    )
    output_roots: str = Field(
        default="",
        description="Places that jobs may write, paths or URLs separated by commas; empty allows all. Set it if "
        "others may submit jobs.",
    )
    stores: str = Field(
        default="",
        description="Stores whose indexes jobs may load: URLs without an index's name, with the password if there is "
        "one, separated by commas; empty allows all. A job names an index in one of them, without a password. Set it "
        "if others may submit jobs.",
    )
    worker_metrics_host: str = Field(
        default="127.0.0.1",
        description="The address of the worker's Prometheus metrics page. Set 0.0.0.0 to be scraped from elsewhere.",
    )
    worker_metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=0,
        description="The port of the worker's Prometheus metrics page, the next ports those of further processes; 0 "
        "serves none.",
    )

    @model_validator(mode="after")
    def _lease_holds(self) -> Self:
        if self.lease_seconds < 3 * self.heartbeat_seconds:
            msg = f"lease_seconds ({self.lease_seconds}) must be at least three heartbeat_seconds"
            raise ValueError(msg)
        return self


class UpSettings(ServerSettings, WorkerSettings, ClientSettings):
    """How `munjang up` runs server, worker and Valkey together on one machine."""

    redis_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=0,
        description="The port of the Valkey that `munjang up` starts; 0 takes a free one at each start. Set it if "
        "other programs need a fixed address of the queue.",
    )
    start_seconds: Seconds = Field(
        default=300.0,
        description="How long everything may take to be ready, without the first model's conversion. Raise it for "
        "large models on slow disks.",
    )


_OF_OUR_TESTS = ("MUNJANG_BENCH_", "MUNJANG_CI_", "MUNJANG_TEST_")


def unknown_variables() -> list[str]:
    """A line for each MUNJANG_ variable that is no setting of any program, with the setting that was likely meant."""
    known = sorted(UpSettings.model_fields.keys() | TrainerSettings.model_fields.keys())
    lines = []
    for variable in sorted(os.environ):
        prefix, _, name = variable.lower().partition("_")
        if prefix == "munjang" and name not in known and not variable.startswith(_OF_OUR_TESTS):
            [meant] = get_close_matches(name, known, n=1, cutoff=0.7) or [""]
            hint = f"; did you mean MUNJANG_{meant.upper()}?" if meant else ""
            lines.append(f"{variable} is not a setting, and has no effect{hint}")
    return lines
