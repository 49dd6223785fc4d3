"""What a program and its converting process say to each other: one line of JSON each way."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it

from pydantic import BaseModel, ConfigDict

from munjang import errors
from munjang.encoder.load import ComputeType, LoadOptions
from munjang.errors import ConfigurationError, MunjangError, UnsupportedModel

LONGEST_MESSAGE = 4000
"""Characters of an error that are passed on; a pipe holds so many while nobody reads."""


class Order(BaseModel):
    """What to convert, and where to keep it; see `LoadOptions`.

    Attributes:
        gently: stand behind everything else on the machine, on one core.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    export: Path
    exports_kept: int
    compute_type: ComputeType
    threads: int
    gently: bool

    @classmethod
    def of(cls, folder: Path, options: LoadOptions, *, gently: bool) -> Order:
        """To make the export that the options name.

        Raises:
            ConfigurationError: they name none.
        """
        if options.export is None:
            msg = "there is no place to keep an export"
            raise ConfigurationError(msg, field="export")
        return cls(
            folder=folder.absolute(),
            export=options.export.absolute(),
            exports_kept=options.exports_kept,
            compute_type=options.compute_type,
            threads=1 if gently else options.threads,
            gently=gently,
        )

    def options(self) -> LoadOptions:
        """The options that it was made of."""
        return LoadOptions(
            device="cpu",
            compute_type=self.compute_type,
            threads=self.threads,
            export=self.export,
            exports_kept=self.exports_kept,
        )


class Outcome(BaseModel):
    """How it ended.

    Attributes:
        error: the name of the error's class in `munjang.errors`; empty where all went well.
        message: what it said.
    """

    model_config = ConfigDict(frozen=True)

    error: str = ""
    message: str = ""

    @classmethod
    def of(cls, error: Exception) -> Outcome:
        """That of a failure; one that is not munjang's own means that OpenVINO cannot run the model."""
        kind = type(error) if isinstance(error, MunjangError) else UnsupportedModel
        return cls(error=kind.__name__, message=str(error)[:LONGEST_MESSAGE])

    def check(self) -> None:
        """Raise the error, if there was one."""
        if self.error:
            kind: type[MunjangError] = getattr(errors, self.error)
            raise kind(self.message)
