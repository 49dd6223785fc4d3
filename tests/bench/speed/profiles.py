"""Profiles, by `--profile FOLDER`: torch's own of both torch forwards, and py-spy's of our server under load."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import torch
from sentence_transformers import SentenceTransformer

from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from tests.bench.speed import client, servers, texts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.speed.context import Context

PY_SPY = "py-spy==0.4.3"


def write(context: Context, folder: Path) -> None:
    """Write torch-*.txt (operators by time) and server.svg (a flame graph of 64 callers)."""
    folder.mkdir(parents=True, exist_ok=True)
    some = texts.take(context.texts, 32 if context.quick else 256)
    model = SentenceTransformer(str(context.folder), device="cpu", local_files_only=True)
    ours = load_encoder(context.folder, LoadOptions(device="cpu", runtime="torch"))
    _torch(lambda: model.encode(some, show_progress_bar=False), folder / "torch-sentence-transformers.txt")
    _torch(lambda: encode(ours, some), folder / "torch-munjang.txt")
    _server(context, folder / "server.svg")


def _torch(work: Callable[[], object], path: Path) -> None:
    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        work()
    path.write_text(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=30), "utf-8")


def _server(context: Context, path: Path) -> None:
    prefix = (str(_py_spy(context.cache)), "record", "--nonblocking", "--rate", "100", "--output", str(path), "--")
    with servers.running(servers.ours(context.registry, context.home, prefix), context.work) as server:
        job = {"protocol": "munjang", "port": server.port, "texts": context.texts[:500], "callers": 64, "batch": 1}
        asyncio.run(client.run(job | {"warmup": 0.0, "seconds": 2.0 if context.quick else 15.0}))
        server.interrupt()


def _py_spy(cache: Path) -> Path:
    """The program, in a virtual environment of its own."""
    folder = cache / "py-spy"
    program = folder / "bin" / "py-spy"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", PY_SPY], check=True)
    return program
