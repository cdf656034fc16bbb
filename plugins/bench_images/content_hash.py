"""Hash the names and contents of the images of a folder, and cache the hash while no file changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench_images.cache import LOG, whole_file
from bench_images.listing import Listing, unreadable_error

THREADS = 4
"""Threads that read files. They help on slow disks; on a fast disk the number makes no difference."""
FILES_PER_TASK = 256


def content_hash(listing: Listing, data_dir: Path) -> str:
    """SHA-256 over the name and the content of every file, independent of where the folder is.

    The hash is cached in `data_dir` and valid while no file's size or time changes, because reading every file is slow.

    Raises:
        DataError: files that cannot be read.
    """
    states = hashlib.sha256()
    for file in (*listing.train, *listing.test):
        states.update(f"{file.name}\0{file.state}\0".encode("utf-8", "surrogateescape"))
    state = states.hexdigest()
    root_id = hashlib.sha256(os.fsencode(listing.root.resolve())).hexdigest()[:16]
    path = data_dir / "folder" / "hashes" / f"{root_id}.json"
    cached = _cached_hash(path, state)
    if cached is not None:
        return cached
    content = _hash_files(listing)
    try:
        with whole_file(path) as stream:
            stream.write(json.dumps({"state": state, "content": content}).encode())
    except OSError as error:
        LOG.info("cannot write %s (%s): every file is read again each time", path, error)
    return content


def _cached_hash(path: Path, state: str) -> str | None:
    try:
        cached = json.loads(path.read_bytes())
        return str(cached["content"]) if cached["state"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hash_files(listing: Listing) -> str:
    names = [file.name for file in (*listing.train, *listing.test)]
    batches = [names[start : start + FILES_PER_TASK] for start in range(0, len(names), FILES_PER_TASK)]
    content = hashlib.sha256()
    unreadable: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for batch, digests in zip(batches, pool.map(partial(_digests, str(listing.root)), batches), strict=True):
            for name, digest in zip(batch, digests, strict=True):
                content.update(name.encode("utf-8", "surrogateescape") + b"\0" + digest)
                if not digest:
                    unreadable.append(name)
    if unreadable:
        raise unreadable_error(listing.root, unreadable)
    return content.hexdigest()


def _digests(root: str, names: Sequence[str]) -> list[bytes]:
    """SHA-256 of each file, empty if it cannot be read. One task reads many files: a task per small file costs more."""
    digests = []
    for name in names:
        try:
            with open(f"{root}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - twice as fast as a Path per file
                # hashlib.file_digest allocates a buffer of 256 KiB per file, which doubles the time.
                digests.append(hashlib.sha256(file.read()).digest())
        except OSError:
            digests.append(b"")
    return digests
