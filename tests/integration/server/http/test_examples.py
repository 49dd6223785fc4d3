"""The examples in other languages, compiled and called: each gets the vectors of gRPC, its version and its space."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from munjang_server.http.endpoint import SPACE_HEADER
from tests.languages import there

ROOT = Path(__file__).parents[4]
EXAMPLES = ROOT / "examples"
MODULES = ROOT / "tests" / "interop" / "node_modules"


@pytest.fixture
def call(doors, sentences, over_grpc, tmp_path):
    """Run an example on all sentences, or on some, and compare what it prints."""
    server, http = doors

    async def run(*command, texts=sentences):
        environment = os.environ | {"LC_ALL": "C.UTF-8", "GOCACHE": str(tmp_path / "go"), "GOFLAGS": "-mod=mod"}
        words = [*command, f"http://127.0.0.1:{server.http_port}", *texts]
        done = await asyncio.to_thread(
            subprocess.run, words, capture_output=True, text=True, timeout=240, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr
        version, space, vectors = done.stdout.splitlines()
        assert version == "1"
        reply = await http.post("/v1/embeddings", json={"model": "stable", "input": texts})
        assert space == reply.headers[SPACE_HEADER]
        assert np.array_equal(np.array(json.loads(vectors), np.float32), await over_grpc(server, texts))

    return run


async def test_go(call):
    await call(there("go"), "run", EXAMPLES / "go" / "main.go")


async def test_node(call):
    await call(there("node"), EXAMPLES / "node" / "embed.mjs")


async def test_typescript(call, tmp_path):
    node = there("node", needs=MODULES / "typescript")
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--outDir", tmp_path, "--types", "node"]
    source = tmp_path / "embed.mts"
    source.write_text((EXAMPLES / "typescript" / "embed.ts").read_text("utf-8"), "utf-8")
    compile_it = [node, MODULES / "typescript" / "bin" / "tsc", *options, "--typeRoots", MODULES / "@types", source]
    done = await asyncio.to_thread(subprocess.run, compile_it, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    await call(node, tmp_path / "embed.mjs")


async def test_java(call):
    java = there("java", needs=Path(there("javac")))
    options = ["-Dfile.encoding=UTF-8", "-Dsun.jnu.encoding=UTF-8", "-Dstdout.encoding=UTF-8"]
    await call(java, *options, EXAMPLES / "java" / "Embed.java")
