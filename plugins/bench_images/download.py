"""An archive is found or downloaded, its checksum compared, its content unpacked to a folder of its own."""

from __future__ import annotations

import socket
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark import DataError

SILENCE = 30.0
"""Seconds without a byte after which a download is given up; torchvision itself would wait for ever."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An archive, wherever it may be."""

    dataset: str
    """Whose it is, for the messages."""
    url: str
    filename: str
    """What it is called once it is here."""
    md5: str


@contextmanager
def unpacked(wanted: Wanted, data_dir: Path) -> Iterator[Path]:
    """A folder with the archive's content, which is removed afterwards; the archive itself stays in `data_dir`.

    Every call unpacks, and downloads, to a place of its own, so that no process ever reads what another is writing.

    Raises:
        DataError: neither there nor to be downloaded, or damaged; the message says which file to put where.
    """
    from torchvision.datasets.utils import extract_archive

    with _workplace(data_dir) as folder:
        archive = _whole_archive(wanted, data_dir, folder)
        try:
            extract_archive(archive, folder)
        except (OSError, tarfile.TarError) as error:
            raise DataError(
                f"dataset '{wanted.dataset}': {archive} could not be unpacked in {folder}: {error}"
            ) from error
        yield folder


def _whole_archive(wanted: Wanted, data_dir: Path, workplace: Path) -> Path:
    """The archive with the right checksum, moved to `data_dir` where that can be written."""
    import http.client  # with TLS and e-mail behind it, 20 ms that no listing needs

    from torchvision.datasets.utils import check_integrity, download_url

    kept = data_dir / wanted.filename
    if check_integrity(kept, wanted.md5):
        return kept
    try:
        with _impatient():
            download_url(wanted.url, workplace, wanted.filename, wanted.md5)
    except (OSError, http.client.HTTPException, RecursionError) as error:
        raise DataError(_unreachable(wanted, data_dir, f"{type(error).__name__}: {error}")) from error
    except RuntimeError as error:  # torchvision's word for a wrong checksum
        raise DataError(_unreachable(wanted, data_dir, "what arrived has a wrong checksum")) from error
    fetched = workplace / wanted.filename
    return fetched.replace(kept) if workplace.parent == data_dir else fetched


def _unreachable(wanted: Wanted, data_dir: Path, reason: str) -> str:
    state = "is damaged (wrong checksum)" if (data_dir / wanted.filename).exists() else "is not there"
    return (
        f"dataset '{wanted.dataset}': {wanted.filename} {state} in {data_dir} and could not be downloaded from "
        f"{wanted.url} ({reason}). Put a whole copy of {wanted.filename} (md5 {wanted.md5}) into {data_dir}, or "
        f"try again when the network allows it; the dataset 'digits' needs no download"
    )


@contextmanager
def _workplace(data_dir: Path) -> Iterator[Path]:
    """An empty folder that is removed afterwards: in `data_dir`, or in the system's temporary folder if that is closed."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        holder = tempfile.TemporaryDirectory(prefix=".unpacking-", dir=data_dir)
    except OSError:
        holder = tempfile.TemporaryDirectory(prefix="bench-images-")
    with holder as folder:
        yield Path(folder)


@contextmanager
def _impatient() -> Iterator[None]:
    """Network waits end after `SILENCE` seconds."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
