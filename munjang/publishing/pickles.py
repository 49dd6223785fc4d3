"""Converts pickled weights of PyTorch (`pytorch_model*.bin`) to safetensors, in a process of its own.

Reading a pickle can run code. So the process unpickles tensors only (`torch.load(weights_only=True)`, which refuses all
else and calls nothing), may start no process, open no connection and write no file but the new ones, and is bounded in
memory and time. The files that were converted are those of a staged folder; the originals stay as they are.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import zipfile
from contextlib import suppress
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from munjang import errors
from munjang.child_process import ChildProcess
from munjang.errors import ForbiddenFile, ModelLoadFailed, MunjangError, UnsupportedModel
from munjang.publishing.source import WEIGHTS, first_line
from munjang.publishing.staging import belongs, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

SECONDS = 900.0
"""A conversion that takes longer is stopped: one reads and writes a file, about a gigabyte in some seconds."""

MEMORY = 2 << 30
"""Bytes that the process may use beside three times the largest file: its pages, its tensors, and what is written."""

COMMAND = (sys.executable, "-P", "-c", "from munjang.publishing.pickles import main; main()")
"""Not by -m: the package imports this module, and Python would warn of running it twice."""

DENIED = (
    "socket.",
    "subprocess.",
    "ctypes.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.system",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "shutil.",
    "urllib.",
)
"""How the audit events of Python begin that the process may not raise."""

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

LONGEST_MESSAGE = 4000
"""Characters of an error that are passed on; a pipe can hold this many unread."""


class Conversion(BaseModel):
    """One file to convert: its name for messages, and the paths of old and new."""

    model_config = ConfigDict(frozen=True)

    name: str
    source: Path
    target: Path


class ConversionRequest(BaseModel):
    """What the process is asked for; it may use `memory` bytes, 0 for as many as there are."""

    model_config = ConfigDict(frozen=True)

    files: tuple[Conversion, ...]
    memory: int


class ConversionFailure(BaseModel):
    """How it failed: the name of a class in `munjang.errors`, empty if it did not, and what to say."""

    model_config = ConfigDict(frozen=True)

    error: str = ""
    message: str = ""


def convert_pickled(
    folder: Path, stage: Path, *, tell: Callable[[str], None] = lambda _: None, seconds: float = SECONDS
) -> list[str]:
    """Give a staged folder, as safetensors, what its original has as pickles of PyTorch and in no other form.

    Args:
        folder: the original.
        stage: the copy of what belongs to a version; it gets the new files.
        tell: told in a sentence what is done.
        seconds: how long it may take.

    Returns:
        The names of the files that were converted.

    Raises:
        ForbiddenFile: a file holds more than tensors.
        UnsupportedModel: its tensors are not those of a model, or not of a form that safetensors has.
        ModelLoadFailed: it cannot be read, or not within these bounds.
    """
    files = list(_pickled(folder, stage))
    if not files:
        return []
    names = ", ".join(file.name for file in files)
    tell(f"converting {names} to safetensors, in a process of its own that reads tensors only")
    largest = max(file.source.stat().st_size for file in files)
    _run(ConversionRequest(files=tuple(files), memory=3 * largest + MEMORY), names, seconds)
    for index in {file.target.parent / "pytorch_model.bin.index.json" for file in files}:
        _convert_index(index)
    return [file.name for file in files]


def _pickled(folder: Path, stage: Path) -> Iterator[Conversion]:
    for path in sorted(folder.rglob("pytorch_model*.bin")):
        name = path.relative_to(folder).as_posix()
        target = stage / path.relative_to(folder).with_name(_new_name(path.name))
        linked = any(parent.is_symlink() for parent in path.parents if folder in parent.parents)
        others = any(target.parent.glob("*.safetensors"))
        if WEIGHTS.fullmatch(path.name) and belongs(f"{name}.safetensors") and not others and not linked:
            yield Conversion(name=name, source=path.resolve(), target=target)


def _new_name(name: str) -> str:
    return name.replace("pytorch_model", "model").removesuffix(".bin") + ".safetensors"


def _convert_index(path: Path) -> None:
    """The list of which file holds which tensor, with the new names."""
    index = read_json(path)
    if index is None:
        return
    index["weight_map"] = {tensor: _new_name(file) for tensor, file in index["weight_map"].items()}
    write_json(path.with_name("model.safetensors.index.json"), index)
    path.unlink()


def _run(request: ConversionRequest, names: str, seconds: float) -> None:
    with ChildProcess(COMMAND, name="pickles", environment={"HF_HUB_OFFLINE": "1"}, piped=True, fed=True) as process:
        with suppress(BrokenPipeError):  # it ended already; its status says why
            process.stdin.write(request.model_dump_json().encode())
            process.stdin.close()
        if not process.wait(seconds):
            msg = f"{names}: converting to safetensors took more than {seconds:g} s and was stopped"
            raise ModelLoadFailed(msg)
        said = process.stdout.read()
        status = process.status()
    if status:
        how = "by SIGKILL, as where memory is short" if status == -signal.SIGKILL else f"with status {status}"
        msg = f"{names}: the process that converts to safetensors ended {how}; save the model with safetensors instead"
        raise ModelLoadFailed(msg)
    failure = ConversionFailure.model_validate_json(said)
    if failure.error:
        kind: type[MunjangError] = getattr(errors, failure.error)
        raise kind(failure.message)


def main() -> None:
    """Convert, in the process that was started for it."""
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print goes elsewhere
    request = ConversionRequest.model_validate_json(sys.stdin.read())
    failure = ConversionFailure()
    try:
        import safetensors.torch  # noqa: F401, PLC0415 - loaded here, before nothing more may be written
        import torch  # noqa: F401, PLC0415 - the same

        confine(request.memory)
        for file in request.files:
            convert(file)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent gets it as the result
        kind = type(error).__name__ if isinstance(error, MunjangError) else ModelLoadFailed.__name__
        failure = ConversionFailure(error=kind, message=str(error)[:LONGEST_MESSAGE])
    os.write(answers, failure.model_dump_json().encode())


def confine(memory: int) -> None:
    """Let this process, from now on, start nothing, connect to nothing, write no file by Python, and stay small."""
    with suppress(ImportError, ValueError, OSError):  # not every system has limits; the parent's time limit holds
        import resource  # noqa: PLC0415 - POSIX only

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
    if writes or event.startswith(DENIED):
        msg = f"{event} is not allowed where weights are unpickled"
        raise PermissionError(msg)


def convert(file: Conversion) -> None:
    """Write the tensors of one file as safetensors; those that share memory are written each for itself.

    Raises:
        ForbiddenFile: it holds more than tensors.
        UnsupportedModel: its tensors are not those of a model, or not of a form that safetensors has.
        ModelLoadFailed: it cannot be read.
    """
    from safetensors.torch import save_file  # noqa: PLC0415 - heavy, and only the process of its own needs it

    tensors = dict(_tensors(file.name, _load(file)))
    if not tensors:
        msg = f"{file.name} holds no weights"
        raise UnsupportedModel(msg)
    seen: set[int] = set()
    for name, tensor in tensors.items():
        start = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if start in seen else tensor.contiguous()
        seen.add(start)
    file.target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file.target, metadata={"format": "pt"})


def _load(file: Conversion) -> Any:
    import pickle  # noqa: PLC0415 - for the error's class: torch unpickles, tensors only

    import torch  # noqa: PLC0415 - heavy

    try:
        return torch.load(file.source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file.source))
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"{named[1]}, which would run when it is read" if named else "more than tensors"
        msg = (
            f"{file.name} is a pickle that holds {what}: it was not read, and nothing of it was run. Take the model "
            f"from who made it as safetensors, or save it so (save_pretrained) where you trust it"
        )
        raise ForbiddenFile(msg) from error
    except MemoryError as error:
        msg = f"{file.name} takes more memory than a file of its size should: it was not read"
        raise ModelLoadFailed(msg) from error
    except Exception as error:
        msg = f"{file.name} cannot be read as weights of PyTorch: {first_line(error)}"
        raise ModelLoadFailed(msg) from error


def _tensors(name: str, content: Any) -> Iterator[tuple[str, Tensor]]:
    import torch  # noqa: PLC0415 - heavy

    if not isinstance(content, dict):
        msg = f"{name} holds a {type(content).__name__}, and not the tensors of a model by their names"
        raise UnsupportedModel(msg)
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            msg = (
                f"{name} is not the weights of a model alone: {key!r} is a {type(value).__name__} (a checkpoint of a "
                f"training?). Save the model itself, with save_pretrained"
            )
            raise UnsupportedModel(msg)
        if value.layout != torch.strided or value.is_quantized:
            msg = f"{name} has the tensor {key!r} in a form that safetensors does not have (sparse or quantised)"
            raise UnsupportedModel(msg)
        yield key, value
