"""The model registry: what is on disk, publishing and resolving, watching. Knows no model library and no transport.

layout (names, manifest, allow-list) · space, identity (what tells models and registries apart) · storage,
object_storage (where files are kept) · publish, verify, store (`Registry`, with its aliases) · fetch (a verified local
folder, cached) · watcher (snapshots, and what changed)
"""

from munjang.registry.fetch import fetch
from munjang.registry.layout import AliasRecord, Description, FileEntry, Manifest, Probe
from munjang.registry.store import DEFAULT, DEFAULT_OF, RERANK, Registry
from munjang.registry.watcher import Snapshot, SnapshotReader, Watcher

__all__ = [
    "DEFAULT",
    "DEFAULT_OF",
    "RERANK",
    "AliasRecord",
    "Description",
    "FileEntry",
    "Manifest",
    "Probe",
    "Registry",
    "Snapshot",
    "SnapshotReader",
    "Watcher",
    "fetch",
]
