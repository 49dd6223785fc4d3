"""Settings that several programs share, and the ranges of values that settings take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser())]


class Settings(BaseSettings):
    """What all programs share."""

    model_config = SettingsConfigDict(env_prefix="MUNJANG_", extra="ignore", frozen=True)

    home: Folder = Field(
        default=Path("~/.munjang"),
        validate_default=True,
        description="Where `munjang up` keeps registry, Redis data, caches and logs. Change it to keep installations "
        "apart.",
    )
    registry: str = Field(
        default="",
        description="The model registry: a folder or an fsspec URL (s3://bucket/models). Empty: <home>/registry; "
        "the command line looks into that of a running `munjang up` first. Change it to share models between machines.",
    )
    cache: str = Field(
        default="",
        description="Where versions of a remote registry are kept after fetching. Empty: <home>/cache. Change it to "
        "put them on a faster or larger disk.",
    )
    redis_url: str = Field(
        default="",
        description="The Redis or Valkey of the job queue (redis://, rediss://, unix://, with user and password). "
        "Empty: `munjang up` starts one of its own. Change it to use one that you operate.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much is logged. Set debug to follow single requests."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto",
        description="json for collectors, text for people; auto: text on a terminal, json elsewhere.",
    )
    otlp_endpoint: str = Field(
        default="",
        description="Where traces go, by OTLP over gRPC (http://collector:4317, https:// for TLS). Empty: none are "
        "made. Set it to see where the time of single calls goes.",
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
        description="cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one. Set cpu to leave a GPU to others.",
    )
    compute_type: Literal["auto", "float32", "bfloat16", "float16", "int8"] = Field(
        default="auto",
        description="The number format of the forward. auto is bfloat16 if the hardware computes in it; on a CPU "
        "only for a version whose probe vectors it gives to a cosine of 0.9999, else float32. Set float32 for exact "
        "agreement with sentence-transformers everywhere; int8 on a CPU for more speed where vectors may be inexact: "
        "the log says by how much, and every server and worker that shares an index must have it.",
    )
    runtime: Literal["auto", "torch", "openvino"] = Field(
        default="auto",
        description="What computes the forward. auto takes OpenVINO on a CPU for the models that it can run, and torch "
        "for the others and on a GPU. Set torch to rule a runtime out when something looks wrong.",
    )
    threads: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Threads of one forward on a CPU; 0 leaves it to the runtime (all cores). Lower it if other "
        "programs share the machine.",
    )
    batch_tokens: Positive = Field(
        default=4096,
        description="The most tokens of one forward. Raise it on a large GPU, lower it if memory "
        "is short; latency of small calls behind a full batch grows with it.",
    )
    cache_versions: Positive = Field(
        default=4,
        description="How many versions the cache holds, copied from a remote registry and converted for a CPU: those "
        "that were used last. Copies of what aliases name, or could roll back to, are kept besides. Raise it if "
        "jobs go back to old versions, lower it if the disk is small.",
    )
    watch_seconds: Annotated[float, Field(ge=0)] = Field(
        default=0,
        description="How often the registry is polled. 0: every second on a disk, every five on an object store.",
    )
