"""Converts a model in a separate process, so that a program that serves imports no torch and stays responsive.

The program starts this module, writes one `ConversionRequest` as a line of JSON to its standard input and reads one
`ConversionResult` from its standard output. The input stays open while the conversion is wanted: when it closes,
because the program ended in any way, the process ends. Its log lines appear among the program's.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path  # noqa: TC003 - pydantic reads it

from pydantic import BaseModel, ConfigDict

from munjang import errors
from munjang.child_process import ChildProcess
from munjang.encoder.load import ComputeType, LoadOptions
from munjang.errors import ConfigurationError, ModelError, ModelLoadFailed, MunjangError, UnsupportedModel
from munjang.kinds import ModelKind
from munjang.settings import Settings
from munjang.telemetry import setup_logging

SECONDS = 1800.0
"""A conversion that takes longer is stopped; a large model beside a busy server takes minutes."""

NICENESS = 5
"""The priority of a gentle conversion: if all cores are busy it gets a third of what another process gets."""

LONGEST_MESSAGE = 4000
"""Characters of an error that are passed on; a pipe can hold this many unread."""

COMMAND = (sys.executable, "-P", "-m", "munjang.engine.conversion")

_log = logging.getLogger("munjang.engine.conversion")


class ConversionRequest(BaseModel):
    """What to convert, and where to keep it; see `LoadOptions`.

    Attributes:
        gently: run at a low priority, on one core.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    export: Path
    exports_kept: int
    compute_type: ComputeType
    threads: int
    kind: ModelKind = ModelKind.DENSE
    gently: bool

    @classmethod
    def of(cls, folder: Path, options: LoadOptions, *, gently: bool) -> ConversionRequest:
        """A request for the export that the options name.

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
            kind=options.kind,
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
            kind=self.kind,
        )


class ConversionResult(BaseModel):
    """How it ended.

    Attributes:
        error: the name of the error's class in `munjang.errors`; empty if it succeeded.
        message: what it said.
    """

    model_config = ConfigDict(frozen=True)

    error: str = ""
    message: str = ""

    @classmethod
    def of(cls, error: Exception) -> ConversionResult:
        """That of a failure; one that is not munjang's own means that OpenVINO cannot run the model.

        That is an `UnsupportedModel`, which is remembered; where memory or the disk was short, a plain `ModelError`.
        """
        kind = type(error) if isinstance(error, MunjangError) else UnsupportedModel
        if isinstance(error, MemoryError | OSError) or "allocate" in str(error):
            kind = ModelError
        return cls(error=kind.__name__, message=(str(error) or type(error).__name__)[:LONGEST_MESSAGE])

    def check(self) -> None:
        """Raise the error, if there was one."""
        if self.error:
            kind: type[MunjangError] = getattr(errors, self.error)
            raise kind(self.message)


class ModelConverter:
    """Converts models, one at a time, each in a new process. `stop` may be called from any thread.

    Args:
        seconds: how long one may take.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: ChildProcess | None = None
        self._stopped = False

    def convert(self, folder: Path, options: LoadOptions, *, gently: bool) -> None:
        """Make the export that the options name; `gently`: others are being served meanwhile.

        Raises:
            ModelError, ConfigurationError: as `encoder.converting.convert` raised it there.
            ModelLoadFailed: the process was ended, by `stop` or by somebody else, or took too long.
        """
        request = ConversionRequest.of(folder, options, gently=gently)
        with self._lock:
            if self._stopped:
                raise _stopped()
            # a group, not a session: Linux may share out the processor by session before it looks at priorities
            process = self._process = ChildProcess(COMMAND, piped=True, fed=True, session=False)
        with process:
            with suppress(BrokenPipeError):  # it ended already; its status says why
                process.stdin.write(request.model_dump_json().encode() + b"\n")
                process.stdin.flush()
            if not process.wait(self._seconds):
                msg = f"converting the model took more than {self._seconds:g} s"
                raise ModelLoadFailed(msg)
            said = process.stdout.read()
        if self._stopped:
            raise _stopped()
        if status := process.status():
            how = (
                "by SIGKILL, as it does where memory is short" if status == -signal.SIGKILL else f"with status {status}"
            )
            msg = f"the process that converts the model ended {how}"
            raise ModelLoadFailed(msg)
        ConversionResult.model_validate_json(said).check()

    def stop(self) -> None:
        """Stop the running conversion, and start no more."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()


def _stopped() -> ModelLoadFailed:
    return ModelLoadFailed("converting the model was stopped")


def main() -> None:
    """Convert one model, in the process that was started for it."""
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print goes to the log
    setup_logging(Settings())
    request = ConversionRequest.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_the_program, daemon=True).start()
    if request.gently:
        with suppress(AttributeError, OSError):  # lets serving go first, if the system has such a priority
            os.nice(NICENESS)
    os.write(answers, _convert(request).model_dump_json().encode())


def _convert(request: ConversionRequest) -> ConversionResult:
    try:
        from munjang.encoder.openvino_runtime.convert import convert  # noqa: PLC0415 - seconds of import, at the priority set above

        convert(request.folder, request.options())
    except Exception as error:  # noqa: BLE001 - whatever it is, the program gets it as the result
        _log.debug("the model was not converted", exc_info=True)
        return ConversionResult.of(error)
    return ConversionResult()


def _end_with_the_program() -> None:
    """Wait until standard input closes, and end at once: what is half written is a draft, and is cleared later."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
