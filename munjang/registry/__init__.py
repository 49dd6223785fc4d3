"""The model registry: what is on disk, publishing and resolving, watching. Knows no model library and no transport.

layout (names, manifest, allow-list) · storage, local, disk, objects (where files are kept) · claims, publish, aliases,
verify, store (`Registry`) · fetch, cache (a verified local folder) · snapshot, watcher (what changed)
"""

from munjang.registry.aliases import DEFAULT
from munjang.registry.fetch import fetch
from munjang.registry.layout import AliasRecord, Description, FileEntry, Manifest, Probe
from munjang.registry.snapshot import Snapshot, Surveyor
from munjang.registry.store import Registry
from munjang.registry.watcher import Watcher

__all__ = [
    "DEFAULT",
    "AliasRecord",
    "Description",
    "FileEntry",
    "Manifest",
    "Probe",
    "Registry",
    "Snapshot",
    "Surveyor",
    "Watcher",
    "fetch",
]
