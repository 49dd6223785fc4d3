"""An object store for tests, `bucket://`: what several processes see at a URL, kept in a folder."""

from __future__ import annotations

import os

import fsspec
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem


class Bucket(DirFileSystem):
    """Whatever is below FAKE_FOLDER/bucket."""

    protocol = "bucket"

    def __init__(self, **options: object) -> None:
        super().__init__(path=f"{os.environ['FAKE_FOLDER']}/bucket", fs=LocalFileSystem(auto_mkdir=True), **options)


def register() -> None:
    """Make `bucket://` known to fsspec in this process."""
    fsspec.register_implementation("bucket", Bucket, clobber=True)
