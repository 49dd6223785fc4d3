"""The peers' servers: each in a virtual environment of its own, made on first use and kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.speed.servers import Spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.speed.context import Context

ROOT = Path(__file__).parents[3]
PROGRAMS = Path(__file__).parent / "peers"
SECONDS = 1200
NEWEST = ("--constraint", str(ROOT / "constraints.txt"))
PACKAGES: dict[str, tuple[str, ...]] = {
    "infinity": ("infinity-emb[server,torch,optimum]==0.0.78", "accelerate"),  # its own older transformers
    "mosec": (*NEWEST, "mosec==0.9.8", "sentence-transformers"),
    "litserve": (*NEWEST, "litserve==0.2.19", "sentence-transformers"),
}


class PeerUnavailable(Exception):
    """A peer cannot be had; the message says why."""


def specs(context: Context) -> tuple[list[Spec], dict[str, str]]:
    """The peers that can be started, and why others cannot."""
    found: list[Spec] = []
    missing: dict[str, str] = {}
    makers: dict[str, Callable[[Context], Spec]] = {
        "Infinity, torch": _infinity_torch,
        "Infinity, ONNX": _infinity_onnx,
        "mosec": _mosec,
        "LitServe": _litserve,
    }
    for name, make in makers.items():
        try:
            found.append(make(context))
        except PeerUnavailable as error:
            missing[name] = str(error)
    return found, missing


def environment(name: str, cache: Path) -> Path:
    """The programs' folder of a peer's virtual environment, made if it is not there. torch first, at our version.

    Raises:
        PeerUnavailable: pip could not install it.
    """
    folder = cache / name
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    wanted = " ".join(PACKAGES[name])
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return python.parent
    print(f"installing {name} into {folder}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    torch = next(
        line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line.startswith("torch==")
    )
    pin = cache / "torch.txt"
    cache.mkdir(parents=True, exist_ok=True)
    pin.write_text(torch + "\n", "utf-8")
    _command([sys.executable, "-m", "venv", str(folder)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _command([*pip, torch])
    _command([*pip, "--constraint", str(pin), *PACKAGES[name]])
    stamp.write_text(wanted, "utf-8")
    return python.parent


def _infinity_torch(context: Context) -> Spec:
    programs = environment("infinity", context.cache)
    return Spec("Infinity, torch", "infinity", _infinity(programs, str(context.folder), "torch"), _quiet())


def _infinity_onnx(context: Context) -> Spec:
    """Its ONNX engine finds an exported model only at the top of the working folder, with optimum's newest release."""
    programs = environment("infinity", context.cache)
    folder = context.work / "onnx"
    export = [str(programs / "optimum-cli"), "export", "onnx", "--model", str(context.folder)]
    _command([*export, "--task", "feature-extraction", "--library", "transformers", str(folder)])
    return Spec("Infinity, ONNX", "infinity", _infinity(programs, ".", "optimum"), _quiet(), cwd=folder)


def _infinity(programs: Path, model: str, engine: str) -> list[str]:
    options = ["--served-model-name", "m", "--host", "127.0.0.1", "--port", "PORT", "--engine", engine]
    more = ["--device", "cpu", "--no-bettertransformer", "--no-model-warmup", "--pooling-method", "mean"]
    quiet = ["--batch-size", "32", "--log-level", "error"]
    return [str(programs / "infinity_emb"), "v2", "--model-id", model, *options, *more, *quiet]


def _quiet() -> dict[str, str]:
    return {"DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0", "PYTHONWARNINGS": "ignore"}


def _mosec(context: Context) -> Spec:
    python = str(environment("mosec", context.cache) / "python")
    command = [python, str(PROGRAMS / "mosec_server.py"), "--port", "PORT", "--address", "127.0.0.1"]
    return Spec("mosec", "mosec", [*command, "--timeout", "300000"], {"BENCH_MODEL": str(context.folder)}, context.work)


def _litserve(context: Context) -> Spec:
    python = str(environment("litserve", context.cache) / "python")
    command = [python, str(PROGRAMS / "litserve_server.py"), "PORT"]
    return Spec("LitServe", "litserve", command, {"BENCH_MODEL": str(context.folder)}, context.work)


def _command(line: list[str]) -> None:
    try:
        done = subprocess.run(
            line,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise PeerUnavailable(f"{' '.join(line[:4])} took more than {SECONDS} s") from error
    if done.returncode:
        said = [text for text in done.stderr.splitlines() if text.strip() and not text.startswith("WARNING")]
        raise PeerUnavailable("; ".join(said[-3:])[:500] or f"{' '.join(line[:4])} failed")
