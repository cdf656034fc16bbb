"""Find or download an archive, verify its checksum, and unpack it to a temporary folder."""

from __future__ import annotations

import shutil
import socket
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench_images.leftovers import in_use, remove_leftovers
from benchmark import DataError

PREFIX = ".unpacking-"
"""Of the names of temporary folders in the data folder."""
NETWORK_TIMEOUT = 30.0
"""Seconds without data after which a download fails. torchvision sets no limit."""


@dataclass(frozen=True, kw_only=True)
class RemoteArchive:
    """An archive that can be downloaded."""

    dataset: str
    """Name of the dataset, for messages."""
    url: str
    filename: str
    """Name of the file in the data folder."""
    md5: str


@contextmanager
def unpacked(archive: RemoteArchive, data_dir: Path) -> Iterator[Path]:
    """A temporary folder with the archive's content. The archive itself is kept in `data_dir`.

    Every call downloads and unpacks to its own folder, so no process reads files that another one is writing.

    Raises:
        DataError: the archive is missing and cannot be downloaded, or is damaged; the message says which file to put where.
    """
    from torchvision.datasets.utils import extract_archive

    with _temporary_folder(data_dir) as folder:
        path = _verified_archive(archive, data_dir, folder)
        try:
            extract_archive(path, folder)
        except (OSError, tarfile.TarError) as error:
            raise DataError(f"dataset '{archive.dataset}': cannot unpack {path} in {folder}: {error}") from error
        yield folder


def _verified_archive(archive: RemoteArchive, data_dir: Path, folder: Path) -> Path:
    """The path of the archive with the right checksum. A download is moved to `data_dir` if that is writable."""
    import http.client  # imported here, because it takes 20 ms

    from torchvision.datasets.utils import check_integrity, download_url

    path = data_dir / archive.filename
    if check_integrity(path, archive.md5):
        return path
    try:
        with _network_timeout():
            download_url(archive.url, folder, archive.filename, archive.md5)
    except (OSError, http.client.HTTPException, RecursionError) as error:
        raise DataError(_download_message(archive, data_dir, f"{type(error).__name__}: {error}")) from error
    except RuntimeError as error:  # torchvision raises it for a wrong checksum
        raise DataError(_download_message(archive, data_dir, "the downloaded file has a wrong checksum")) from error
    downloaded = folder / archive.filename
    return downloaded.replace(path) if folder.parent == data_dir else downloaded


def _download_message(archive: RemoteArchive, data_dir: Path, reason: str) -> str:
    state = "is damaged (wrong checksum)" if (data_dir / archive.filename).exists() else "does not exist"
    return (
        f"dataset '{archive.dataset}': {archive.filename} {state} in {data_dir} and could not be downloaded from "
        f"{archive.url} ({reason}). Put a complete copy of {archive.filename} (md5 {archive.md5}) into {data_dir}, or try "
        f"again with a network connection; the dataset 'digits' needs no download"
    )


@contextmanager
def _temporary_folder(data_dir: Path) -> Iterator[Path]:
    """A temporary folder in `data_dir`, or in the system's temporary folder if `data_dir` is not writable.

    Those that killed processes left in `data_dir` are removed.
    """
    with ExitStack() as stack:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            remove_leftovers(data_dir, PREFIX)
            folder = stack.enter_context(in_use(lambda: Path(tempfile.mkdtemp(prefix=PREFIX, dir=data_dir))))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        except OSError:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-images-")))
        yield folder


@contextmanager
def _network_timeout() -> Iterator[None]:
    """Sets the default timeout of sockets inside the block."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
