"""The end of a job: verify every shard, merge the error files, and write the manifest that marks success."""

from __future__ import annotations

import json
import shutil
import time
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

from munjang import __version__
from munjang.bulk import ERRORS, MANIFEST
from munjang_worker.plan import STAGED
from munjang_worker.shard import errors_name, forget_result, load_result
from munjang_worker.storage import CHUNK, TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from munjang_worker.plan import Plan
    from munjang_worker.shard import ShardResult
    from munjang_worker.storage import Folder

FORMAT = 1


def load_manifest(folder: Folder) -> dict[str, Any] | None:
    """The manifest in an output folder; None where there is none, or one that is not JSON."""
    data = folder.read(MANIFEST)
    try:
        found = json.loads(data) if data else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def check_shards(
    plan: Plan, folder: Folder, poll: Callable[[], None], *, deep: bool
) -> tuple[list[ShardResult], list[int]]:
    """The finished shards, and the numbers of those that have to be done (again): their records are removed.

    A shard is finished if its record and the file of its bad rows exist, and its files have the recorded sizes and, if
    `deep` and on a disk of this machine, the recorded sha256. Files elsewhere were hashed before they were uploaded.
    """
    results: list[ShardResult] = []
    missing: list[int] = []
    for number, shard in enumerate(plan.shards):
        poll()
        result = load_result(folder, number)
        if result is not None and result.rows + result.failed == shard.rows and _is_intact(result, folder, deep=deep):
            results.append(result)
        else:
            forget_result(folder, number)
            missing.append(number)
    return results, missing


def write_manifest(plan: Plan, results: Sequence[ShardResult], folder: Folder) -> dict[str, Any]:
    """Merge the error files and write the manifest; its content.

    The staged input and what killed workers left under temporary names are removed. The shards' records and bad rows
    stay, so that a part that is lost later can be made again alone.
    """
    write_errors(results, folder)
    manifest = _manifest(plan, results)
    folder.write(MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=2).encode())
    for leftover in (STAGED, TEMPORARY):
        folder.remove(leftover)
    return manifest


def write_errors(results: Sequence[ShardResult], folder: Folder) -> None:
    """Merge the bad rows of some shards into one file, in the input's order."""
    with folder.create(ERRORS) as path, path.open("wb") as target:
        for result in (one for one in results if one.failed):
            with folder.open(errors_name(result.number)) as errors:
                shutil.copyfileobj(errors, target, CHUNK)


def _manifest(plan: Plan, results: Sequence[ShardResult]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "job": plan.job,
        "version": plan.version,
        "space_id": plan.space_id,
        "model_sha256": plan.identity["model"],
        "fingerprint": plan.fingerprint,
        "rows": plan.rows,
        "rows_encoded": sum(result.rows for result in results),
        "rows_failed": sum(result.failed for result in results),
        "texts_truncated": sum(result.truncated for result in results),
        "tokens": sum(result.tokens for result in results),
        "dimensions": plan.dimensions,
        "int8_scale": plan.int8_scale,
        "options": {name: value for name, value in plan.identity.items() if name not in {"input", "model", "version"}},
        "spec": plan.spec.model_dump(mode="json"),
        "input": [file.model_dump() for file in plan.files],
        "left_out": [one.model_dump() for one in plan.left_out],
        "block_rows": plan.block_rows,
        "batch_tokens": plan.batch_tokens,
        "shards": [_shard(plan, result) for result in results],
        "seconds_worked": round(sum(result.seconds for result in results), 3),
        "created_at": plan.created_at,
        "finished_at": time.time(),
        "libraries": {"munjang": __version__} | {name: version_of(name) for name in ("pyarrow", "numpy")},
    }


def _shard(plan: Plan, result: ShardResult) -> dict[str, Any]:
    entry = result.model_dump(exclude={"number", "worker"})
    return {"number": result.number, "first_row": plan.shards[result.number].first_row} | entry


def _is_intact(result: ShardResult, folder: Folder, *, deep: bool) -> bool:
    if result.failed and folder.size(errors_name(result.number)) is None:
        return False
    for part in result.parts:
        if folder.size(part.name) != part.size:
            return False
        if deep and folder.local and folder.sha256(part.name) != part.sha256:
            return False
    return True
