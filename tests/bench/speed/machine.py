"""The machine: what it is, which versions run on it, and how fast it multiplies matrices and reads memory."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import openvino
import psutil
import torch
from openvino import opset13
from openvino.properties import hint

from tests.bench.speed.stats import timed

PACKAGES = ("torch", "openvino", "sentence-transformers", "transformers", "tokenizers", "grpcio", "protobuf", "numpy")
SIZES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 384, 1536), (4096, 768, 3072))


def describe() -> dict[str, object]:
    """Processor, memory, versions, commit and moment."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": commit.stdout.strip() + ("+changes" if changed.stdout.strip() else ""),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_at_start": os.getloadavg()[0],
    }


def torch_peak(dtype: torch.dtype, device: str = "cpu") -> float:
    """The most operations a second of a matrix product in torch, of several shapes, 2 a multiply-add."""
    return max(_torch_rate(dtype, device, *size) for size in SIZES)


def openvino_peak(kind: openvino.Type) -> float:
    """The same by OpenVINO, whose own product with a constant matrix may be faster."""
    return max(_openvino_rate(kind, *size) for size in SIZES)


def read_bandwidth() -> float:
    """Bytes a second that the processor reads from memory."""
    data = torch.ones(64 * 2**20, dtype=torch.float32)
    data.sum()
    return data.numel() * 4 / min(timed(data.sum) for _ in range(5))


def _torch_rate(dtype: torch.dtype, device: str, rows: int, inner: int, columns: int) -> float:
    left = torch.randn(rows, inner, device=device).to(dtype)
    right = torch.randn(inner, columns, device=device).to(dtype)

    def product() -> None:
        with torch.inference_mode():
            left @ right
        if device != "cpu":
            torch.cuda.synchronize()

    product()
    return 2 * rows * inner * columns / min(timed(product) for _ in range(8))


def _openvino_rate(kind: openvino.Type, rows: int, inner: int, columns: int) -> float:
    given = opset13.parameter([rows, inner], np.float32)
    weights = opset13.constant(np.random.default_rng(0).standard_normal((inner, columns), np.float32))
    model = openvino.Model([opset13.reduce_sum(opset13.matmul(given, weights, False, False), 1)], [given])  # noqa: FBT003 - OpenVINO's signature
    request = openvino.Core().compile_model(model, "CPU", {hint.inference_precision(): kind}).create_infer_request()
    data = np.ones((rows, inner), np.float32)
    request.infer({0: data}, share_inputs=True)
    return (
        2 * rows * inner * columns / min(timed(lambda: request.infer({0: data}, share_inputs=True)) for _ in range(8))
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = [
        line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "cpu family", "model\t"))
    ]
    return f"{fields[2]} (family {fields[0]}, model {fields[1]})" if len(fields) > 2 else platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
