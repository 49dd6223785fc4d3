"""The only reader of the environment: every setting of every program, each documented by why you would change it.

A setting `registry` is read from MUNJANG_REGISTRY. Programs make their settings object once, at their start, and pass it
on; nothing else in the code looks at the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser())]


class Settings(BaseSettings):
    """What all programs share."""

    model_config = SettingsConfigDict(env_prefix="MUNJANG_", extra="ignore", frozen=True)

    home: Folder = Field(
        default=Path("~/.munjang"),
        validate_default=True,
        description="Where `munjang up` keeps registry, Redis data, caches and logs. Change it to keep installations apart.",
    )
    registry: str = Field(
        default="",
        description="The model registry: a folder or an fsspec URL (s3://bucket/models). Empty: <home>/registry. "
        "Change it to share models between machines.",
    )
    cache: str = Field(
        default="",
        description="Where versions of a remote registry are kept after fetching. Empty: <home>/cache. Change it to put "
        "them on a faster or larger disk.",
    )
    redis_url: str = Field(
        default="",
        description="The Redis or Valkey of the job queue (redis://, rediss://, unix://, with user and password). Empty: "
        "`munjang up` starts one of its own. Change it to use one that you operate.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much is logged. Set debug to follow single requests."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto",
        description="json for collectors, text for people; auto: text on a terminal, json elsewhere.",
    )

    @property
    def registry_url(self) -> str:
        """The registry, or its place under home."""
        return self.registry or str(self.home / "registry")

    @property
    def cache_folder(self) -> Path:
        """The version cache, or its place under home."""
        return Path(self.cache).expanduser() if self.cache else self.home / "cache"


class EngineSettings(Settings):
    """How a program that runs models (server, worker) loads and runs them."""

    device: str = Field(
        default="auto",
        description="cpu, cuda, cuda:1 or mps; auto takes a GPU where there is one. Set cpu to leave a GPU to others.",
    )
    compute_type: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="The number format of the forward. auto is float32 on a CPU and bfloat16 on a GPU that has it. Set "
        "float32 for exact agreement with sentence-transformers everywhere.",
    )
    threads: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Threads of one forward on a CPU; 0 leaves it to the runtime (all cores). Lower it where other "
        "programs share the machine.",
    )
    batch_tokens: Positive = Field(
        default=4096,
        description="The most tokens, padding included, of one forward. Raise it on a large GPU, lower it where memory is "
        "short; latency of small calls behind a full batch grows with it.",
    )
    watch_seconds: Annotated[float, Field(ge=0)] = Field(
        default=0,
        description="How often the registry is looked at. 0: every second on a disk, every five on an object store.",
    )


class ServerSettings(EngineSettings):
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
        description="The aliases to serve, with commas between. Add one (stable,canary) to have its version resident too.",
    )
    keep_previous: bool = Field(
        default=True,
        description="Keep the version that an alias named before resident, so that a rollback takes no loading. Turn it "
        "off where memory holds one model only.",
    )
    max_texts: Positive = Field(
        default=1024, description="The most texts in one call. Raise it for bulk clients; bigger calls wait longer."
    )
    max_text_chars: Positive = Field(
        default=200_000,
        description="The most characters in one text, a guard against accidents: tokenising costs time even where the rest "
        "is cut off.",
    )
    max_message_bytes: Positive = Field(
        default=16 * 1024 * 1024,
        description="The largest request message. Larger ones are refused before they are parsed.",
    )
    drain_seconds: Seconds = Field(
        default=25.0,
        description="How long calls in flight may finish after SIGTERM. Keep it under the orchestrator's grace period.",
    )


class ClientSettings(Settings):
    """Where the command line finds a server."""

    target: str = Field(
        default="127.0.0.1:50051",
        description="The server that the command line calls, HOST:PORT. Change it instead of writing --target each time.",
    )
    token: str = Field(default="", description="The bearer token to send. Set it where the server asks for one.")
    timeout: Seconds = Field(default=30.0, description="Seconds until a call of the command line is given up.")


class WorkerSettings(EngineSettings):
    """How the bulk worker runs."""


class TrainerSettings(EngineSettings):
    """How the trainer runs."""

    model: str = Field(
        default="",
        description="A sentence-transformers folder or hub id to publish at the first run instead of the starter model.",
    )
