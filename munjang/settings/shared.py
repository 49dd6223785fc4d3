"""Settings: what all programs share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from munjang.settings.kinds import Folder


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
        description="The model registry: a folder or an fsspec URL (s3://bucket/models). Empty: <home>/registry. "
        "Change it to share models between machines.",
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
