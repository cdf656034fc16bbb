"""Downloaded datasets: `bench_images.archives`, `bench_images.download`."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import pickle
import shutil
import socket
import tarfile
import threading
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torchvision
from image_samples import NOTHING, assert_as_described

from bench_images import archives, download
from benchmark import DataError, Dataset


@pytest.mark.parametrize("archive", archives.ARCHIVES, ids=lambda archive: archive.name)
def test_checksums_are_torchvisions(archive: archives.Archive) -> None:
    assert archive.md5 == getattr(torchvision.datasets, archive.source).tgz_md5
    assert archives.describe(archive, NOTHING, Path("/nowhere")).fingerprint == archive.md5


def test_archives_have_the_published_sizes_and_sorted_classes() -> None:
    sizes = [(a.num_train, a.num_test, a.num_unlabeled, len(set(a.class_names))) for a in archives.ARCHIVES]
    assert sizes == [(50_000, 10_000, 0, 10), (50_000, 10_000, 0, 100), (5_000, 8_000, 100_000, 10)]
    assert all(list(a.class_names) == sorted(a.class_names) for a in archives.ARCHIVES)


def test_unlabeled_images_change_the_identity() -> None:
    plain, more = (
        archives.describe(archives.STL10, archives.UnlabeledParams(unlabeled=unlabeled), Path("/nowhere"))
        for unlabeled in (False, True)
    )
    assert (plain.label, more.label) == ("stl10", "stl10+unlabeled")
    assert plain.fingerprint != more.fingerprint


@dataclasses.dataclass(frozen=True)
class Made:
    """An archive in CIFAR-10's layout on a local server, with torchvision and the plugin set up for it."""

    archive: archives.Archive
    served: Path
    data_dir: Path
    images: np.ndarray
    labels: list[int]
    requests: list[str]

    @property
    def file(self) -> Path:
        return self.served / "cifar-10-python.tar.gz"

    def load(self) -> Dataset:
        return archives.load(self.archive, NOTHING, self.data_dir)


def packed(path: Path, inside: str, files: dict[str, bytes]) -> str:
    """Writes a tar.gz with these files in the folder `inside` and returns its md5."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{inside}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return md5(path.read_bytes())


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def pickled(value: object) -> bytes:
    """Pickled as by Python 2's numpy: flags of a data type are the numbers 0 and 1, about which numpy 2.4.0 to 2.4.4 warns."""
    content = pickle.dumps(value, protocol=2)
    return content.replace(b"\x89\x88\x87", b"K\x00K\x01\x87")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
    labels = [9, 3, 1, 0, 4, 2, 5, 6, 8, 7, 7, 1]
    files = {
        "batches.meta": pickled({"label_names": list(archives.CIFAR10.class_names)}),
        "test_batch": pickled({"data": images[10:].reshape(2, 3072), "labels": labels[10:]}),
    }
    for batch in range(5):
        part = slice(2 * batch, 2 * batch + 2)
        files[f"data_batch_{batch + 1}"] = pickled({"data": images[part].reshape(2, 3072), "labels": labels[part]})
    assert b"K\x00K\x01\x87" in files["test_batch"]
    served = tmp_path / "served"
    served.mkdir()
    checksum = packed(served / "cifar-10-python.tar.gz", "cifar-10-batches-py", files)
    requests: list[str] = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            requests.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    source = torchvision.datasets.CIFAR10
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(source, "url", f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz")
    monkeypatch.setattr(source, "tgz_md5", checksum)
    monkeypatch.setattr(source, "train_list", [[n, md5(files[n])] for n in files if n.startswith("data")])
    monkeypatch.setattr(source, "test_list", [["test_batch", md5(files["test_batch"])]])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": md5(files["batches.meta"])})
    archive = dataclasses.replace(archives.CIFAR10, md5=checksum, num_train=10, num_test=2)
    yield Made(archive, served, tmp_path / "data", images, labels, requests)
    server.shutdown()
    thread.join()
    server.server_close()


def assert_right(dataset: Dataset, made: Made) -> None:
    assert np.array_equal(dataset.train.images, made.images[:10])
    assert np.array_equal(dataset.test.images, made.images[10:])
    assert dataset.train.labels.tolist() + dataset.test.labels.tolist() == made.labels
    assert_as_described(dataset, archives.describe(made.archive, NOTHING, made.data_dir))


def test_archive_is_downloaded_once_and_then_mapped(made: Made) -> None:
    assert_right(made.load(), made)
    assert made.requests
    made.requests.clear()
    made.file.unlink()
    (made.data_dir / made.file.name).unlink()
    again = made.load()
    assert_right(again, made)
    assert isinstance(again.train.images.base, np.memmap)
    assert made.requests == []


def test_data_folder_contains_only_the_archive_and_the_arrays(made: Made) -> None:
    made.load()
    names = sorted(path.relative_to(made.data_dir).as_posix() for path in made.data_dir.rglob("*"))
    arrays = f"cifar10-{made.archive.md5[:10]}"
    parts = [f"{arrays}/{part}.npy" for part in ("test_images", "test_labels", "train_images", "train_labels")]
    assert names == ["cifar-10-python.tar.gz", arrays, *parts]


def test_existing_archive_needs_no_network(made: Made) -> None:
    made.data_dir.mkdir()
    shutil.copy(made.file, made.data_dir)
    assert_right(made.load(), made)
    assert made.requests == []


def test_unpacked_files_need_no_network_and_no_archive(made: Made) -> None:
    with tarfile.open(made.file) as tar:
        tar.extractall(made.data_dir, filter="data")
    assert_right(made.load(), made)
    assert made.requests == []


def test_damaged_archive_is_downloaded_again(made: Made) -> None:
    made.data_dir.mkdir()
    (made.data_dir / made.file.name).write_bytes(made.file.read_bytes()[:-100])
    assert_right(made.load(), made)


def test_wrong_checksum_is_an_error(made: Made) -> None:
    made.file.write_bytes(made.file.read_bytes()[:-100])
    with pytest.raises(DataError, match="wrong checksum") as caught:
        made.load()
    assert_helpful(caught.value, made)
    assert not (made.data_dir / made.file.name).exists()


def assert_helpful(error: DataError, made: Made) -> None:
    message = str(error)
    assert "dataset 'cifar10'" in message
    assert f"Put a complete copy of cifar-10-python.tar.gz (md5 {made.archive.md5}) into {made.data_dir}" in message
    assert "'digits' needs no download" in message


def test_refused_connection_is_an_error(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", f"http://127.0.0.1:{unheard.getsockname()[1]}/x")
        with pytest.raises(DataError, match="does not exist in") as caught:
            made.load()
    assert_helpful(caught.value, made)


def test_damaged_archive_without_network_is_an_error(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made.data_dir.mkdir()
    (made.data_dir / made.file.name).write_bytes(b"half of it")
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", "http://127.0.0.1:1/x")
    with pytest.raises(DataError, match=r"is damaged \(wrong checksum\)") as caught:
        made.load()
    assert_helpful(caught.value, made)


def test_http_error_is_an_error(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made.file.unlink()
    with pytest.raises(DataError, match="HTTP Error 404") as caught:
        made.load()
    assert_helpful(caught.value, made)
    assert isinstance(caught.value.__cause__, urllib.error.HTTPError)
    caught.value.__cause__.close()


def test_silent_server_times_out(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "NETWORK_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", f"http://127.0.0.1:{silent.getsockname()[1]}/x")
        with pytest.raises(DataError, match="timed out") as caught:
            made.load()
    assert_helpful(caught.value, made)
    assert socket.getdefaulttimeout() is None


def test_two_processes_can_download_at_once(made: Made) -> None:
    with ThreadPoolExecutor(2) as pool:
        for dataset in pool.map(lambda _: made.load(), range(2)):
            assert_right(dataset, made)


def test_archive_with_other_counts_is_an_error(made: Made) -> None:
    other = dataclasses.replace(made.archive, num_train=11)
    with pytest.raises(DataError, match="not the content"):
        archives.load(other, NOTHING, made.data_dir)


def test_stl10_is_upright_and_has_unlabeled_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 96, 96), dtype=np.uint8)
    columns_first = images.transpose(0, 1, 3, 2)  # as the authors store them
    files = {
        "train_X.bin": columns_first[:2].tobytes(),
        "train_y.bin": bytes([1, 10]),
        "unlabeled_X.bin": columns_first[2:4].tobytes(),
        "test_X.bin": columns_first[4:].tobytes(),
        "test_y.bin": bytes([3]),
    }
    checksum = packed(tmp_path / "stl10_binary.tar.gz", "stl10_binary", files)
    source = torchvision.datasets.STL10
    monkeypatch.setattr(source, "train_list", [[name, md5(files[name])] for name in list(files)[:3]])
    monkeypatch.setattr(source, "test_list", [[name, md5(files[name])] for name in list(files)[3:]])
    archive = dataclasses.replace(archives.STL10, md5=checksum, num_train=2, num_test=1, num_unlabeled=2)
    plain = archives.load(archive, archives.UnlabeledParams(), tmp_path)
    assert plain.unlabeled is None
    more = archives.load(archive, archives.UnlabeledParams(unlabeled=True), tmp_path)
    assert_as_described(more, archives.describe(archive, archives.UnlabeledParams(), tmp_path))
    assert more.unlabeled is not None
    assert np.array_equal(more.train.images, images[:2])
    assert np.array_equal(more.unlabeled, images[2:4])
    assert np.array_equal(more.test.images, images[4:])
    assert (more.train.labels.tolist(), more.test.labels.tolist()) == ([0, 9], [2])
