"""Datasets: what is described is what is loaded, and nobody is left alone with a missing or damaged file."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import bench_images
from bench_images import archives, cache, decoding, digits, download, folder, listing
from benchmark import DataError, Dataset, DatasetInfo, NoParams
from benchmark.testing.datasets import check_dataset

NOTHING = NoParams()


# --- the plugin -------------------------------------------------------------------------------------------------------


def test_importing_the_plugin_and_describing_its_archives_imports_nothing_heavy() -> None:
    program = """
import sys, pathlib, bench_images
for spec in bench_images.bench_datasets():
    if spec.name != "folder":
        spec.describe(spec.params(), pathlib.Path("/nowhere"))
print([name for name in ("torch", "torchvision", "sklearn", "numpy", "PIL") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_plugin_gives_five_datasets() -> None:
    specs = list(bench_images.bench_datasets())
    assert [spec.name for spec in specs] == ["digits", "cifar10", "cifar100", "stl10", "folder"]
    assert all(spec.summary and spec.params() is not None for spec in specs)


def test_digits_and_folders_keep_the_contract(tree: Path, tmp_path: Path) -> None:
    specs = {spec.name: spec for spec in bench_images.bench_datasets()}
    check_dataset(specs["digits"], data_dir=tmp_path)
    check_dataset(specs["folder"], params=params_for(tree), data_dir=tmp_path)


def assert_as_described(dataset: Dataset, info: DatasetInfo) -> None:
    for split, count in ((dataset.train, info.num_train), (dataset.test, info.num_test)):
        assert split.images.shape == (count, *info.image_shape)
        assert split.images.dtype == np.uint8
        assert split.images.flags.c_contiguous
        assert split.labels.shape == (count,)
        assert split.labels.dtype == np.int64
        assert set(split.labels.tolist()) <= set(range(len(info.class_names)))
        torch.from_numpy(split.images)  # a read-only map would warn here
    assert dataset.class_names == info.class_names


# --- digits -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundled() -> Dataset:
    return digits.load(NOTHING, Path("/nowhere"))


def test_digits_are_as_described(bundled: Dataset) -> None:
    info = digits.describe(NOTHING, Path("/nowhere"))
    assert (info.num_train, info.num_test, info.image_shape) == (1437, 360, (1, 8, 8))
    assert_as_described(bundled, info)


def test_the_digits_and_their_split_never_change(bundled: Dataset) -> None:
    checksum = hashlib.sha256()
    for split in (bundled.train, bundled.test):
        checksum.update(split.images.tobytes())
        checksum.update(split.labels.astype("<i8").tobytes())
    assert checksum.hexdigest() == digits.FINGERPRINT


def test_the_test_digits_are_36_of_each_class(bundled: Dataset) -> None:
    assert np.bincount(bundled.test.labels).tolist() == [36] * 10


def test_train_and_test_digits_together_are_the_source(bundled: Dataset) -> None:
    from sklearn.datasets import load_digits

    source = load_digits()
    ours = np.concatenate([bundled.train.images, bundled.test.images]).reshape(1797, 64)
    labels = np.concatenate([bundled.train.labels, bundled.test.labels])
    both = sorted(zip(map(bytes, ours), labels.tolist(), strict=True))
    theirs = [[int(ink * 255 / 16 + 0.5) for ink in image] for image in source.data]
    assert both == sorted(zip(map(bytes, theirs), source.target.tolist(), strict=True))


# --- archives ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("archive", archives.ARCHIVES, ids=lambda archive: archive.name)
def test_the_checksums_are_torchvisions_own(archive: archives.Archive) -> None:
    assert archive.md5 == getattr(torchvision.datasets, archive.source).tgz_md5
    assert archives.describe(archive, NOTHING, Path("/nowhere")).fingerprint == archive.md5


def test_the_archives_have_the_published_sizes_and_sorted_classes() -> None:
    sizes = [(a.num_train, a.num_test, a.num_unlabeled, len(set(a.class_names))) for a in archives.ARCHIVES]
    assert sizes == [(50_000, 10_000, 0, 10), (50_000, 10_000, 0, 100), (5_000, 8_000, 100_000, 10)]
    assert all(list(a.class_names) == sorted(a.class_names) for a in archives.ARCHIVES)


def test_unlabeled_images_make_another_dataset() -> None:
    plain, more = (
        archives.describe(archives.STL10, archives.UnlabeledParams(unlabeled=unlabeled), Path("/nowhere"))
        for unlabeled in (False, True)
    )
    assert (plain.label, more.label) == ("stl10", "stl10+unlabeled")
    assert plain.fingerprint != more.fingerprint


@dataclasses.dataclass(frozen=True)
class Made:
    """An archive in CIFAR-10's layout, known to torchvision and to the plugin, on a server of our own."""

    archive: archives.Archive
    served: Path
    data_dir: Path
    images: np.ndarray
    labels: list[int]
    asked: list[str]

    @property
    def file(self) -> Path:
        return self.served / "cifar-10-python.tar.gz"

    def load(self) -> Dataset:
        return archives.load(self.archive, NOTHING, self.data_dir)


def packed(path: Path, inside: str, files: dict[str, bytes]) -> str:
    """Writes a tar.gz of these files in the folder `inside`; returns its md5."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{inside}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return md5(path.read_bytes())


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def pickled(value: object) -> bytes:
    """As Python 2's numpy wrote it: a data type's flags are the numbers 0 and 1, which numpy 2.4.0 to 2.4.4 complain of."""
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
    asked: list[str] = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            asked.append(self.path)

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
    yield Made(archive, served, tmp_path / "data", images, labels, asked)
    server.shutdown()
    thread.join()
    server.server_close()


def assert_right(dataset: Dataset, made: Made) -> None:
    assert np.array_equal(dataset.train.images, made.images[:10])
    assert np.array_equal(dataset.test.images, made.images[10:])
    assert dataset.train.labels.tolist() + dataset.test.labels.tolist() == made.labels
    assert_as_described(dataset, archives.describe(made.archive, NOTHING, made.data_dir))


def test_an_archive_is_downloaded_once_and_then_memory_mapped(made: Made) -> None:
    assert_right(made.load(), made)
    assert made.asked
    made.asked.clear()
    made.file.unlink()
    (made.data_dir / made.file.name).unlink()
    again = made.load()
    assert_right(again, made)
    assert isinstance(again.train.images.base, np.memmap)
    assert made.asked == []


def test_nothing_but_the_archive_and_the_arrays_stays_in_the_data_folder(made: Made) -> None:
    made.load()
    names = sorted(path.relative_to(made.data_dir).as_posix() for path in made.data_dir.rglob("*"))
    arrays = f"cifar10-{made.archive.md5[:10]}"
    parts = [f"{arrays}/{part}.npy" for part in ("test_images", "test_labels", "train_images", "train_labels")]
    assert names == ["cifar-10-python.tar.gz", arrays, *parts]


def test_an_archive_that_is_there_needs_no_network(made: Made) -> None:
    made.data_dir.mkdir()
    shutil.copy(made.file, made.data_dir)
    assert_right(made.load(), made)
    assert made.asked == []


def test_unpacked_files_need_neither_network_nor_archive(made: Made) -> None:
    with tarfile.open(made.file) as tar:
        tar.extractall(made.data_dir, filter="data")
    assert_right(made.load(), made)
    assert made.asked == []


def test_a_damaged_archive_is_replaced_where_there_is_a_network(made: Made) -> None:
    made.data_dir.mkdir()
    (made.data_dir / made.file.name).write_bytes(made.file.read_bytes()[:-100])
    assert_right(made.load(), made)


def test_a_wrong_checksum_is_an_error_that_says_what_to_do(made: Made) -> None:
    made.file.write_bytes(made.file.read_bytes()[:-100])
    with pytest.raises(DataError, match="wrong checksum") as caught:
        made.load()
    assert_helpful(caught.value, made)
    assert not (made.data_dir / made.file.name).exists()


def assert_helpful(error: DataError, made: Made) -> None:
    message = str(error)
    assert "dataset 'cifar10'" in message
    assert f"Put a whole copy of cifar-10-python.tar.gz (md5 {made.archive.md5}) into {made.data_dir}" in message
    assert "'digits' needs no download" in message


def test_a_refused_connection_is_an_error_that_says_what_to_do(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", f"http://127.0.0.1:{unheard.getsockname()[1]}/x")
        with pytest.raises(DataError, match="is not there in") as caught:
            made.load()
    assert_helpful(caught.value, made)


def test_a_damaged_archive_without_network_is_called_damaged(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made.data_dir.mkdir()
    (made.data_dir / made.file.name).write_bytes(b"half of it")
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", "http://127.0.0.1:1/x")
    with pytest.raises(DataError, match=r"is damaged \(wrong checksum\)") as caught:
        made.load()
    assert_helpful(caught.value, made)


def test_a_server_that_says_no_is_an_error_that_says_what_to_do(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made.file.unlink()
    with pytest.raises(DataError, match="HTTP Error 404") as caught:
        made.load()
    assert_helpful(caught.value, made)
    assert isinstance(caught.value.__cause__, urllib.error.HTTPError)
    caught.value.__cause__.close()


def test_a_server_that_says_nothing_is_given_up(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SILENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", f"http://127.0.0.1:{silent.getsockname()[1]}/x")
        with pytest.raises(DataError, match="timed out") as caught:
            made.load()
    assert_helpful(caught.value, made)
    assert socket.getdefaulttimeout() is None


def test_two_downloads_at_once_both_arrive(made: Made) -> None:
    with ThreadPoolExecutor(2) as pool:
        for dataset in pool.map(lambda _: made.load(), range(2)):
            assert_right(dataset, made)


def test_an_archive_with_other_counts_is_refused(made: Made) -> None:
    other = dataclasses.replace(made.archive, num_train=11)
    with pytest.raises(DataError, match="not the content"):
        archives.load(other, NOTHING, made.data_dir)


def test_stl10_is_upright_and_brings_its_unlabeled_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_finished_never_appears(tmp_path: Path) -> None:
    def blocks() -> Iterator[np.ndarray]:
        yield np.arange(2)
        raise DataError("the rest is damaged")

    with pytest.raises(DataError):
        cache.stored_array(tmp_path / "array.npy", (4,), np.int64, blocks)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00", b"no array at all"])
def test_a_damaged_array_is_made_again(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "array.npy"
    path.write_bytes(damage)
    array = cache.stored_array(path, (4,), np.int64, lambda: [np.arange(3), np.array([3])])
    assert array.tolist() == np.load(path).tolist() == [0, 1, 2, 3]


def test_an_array_cut_short_or_of_another_shape_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    np.save(path, np.zeros(9))
    assert cache.stored_array(path, (4,), np.int64, lambda: [np.arange(4)]).tolist() == [0, 1, 2, 3]
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.stored_array(path, (4,), np.int64, lambda: [np.arange(4)]).tolist() == [0, 1, 2, 3]


def test_two_writers_at_once_leave_one_whole_array(tmp_path: Path) -> None:
    both_are_writing = threading.Barrier(2, timeout=10)

    def blocks() -> Iterator[np.ndarray]:
        yield np.arange(2)
        both_are_writing.wait()
        yield np.arange(2, 4)

    with ThreadPoolExecutor(2) as pool:
        arrays = list(
            pool.map(lambda _: cache.stored_array(tmp_path / "a.npy", (4,), np.int64, blocks).tolist(), range(2))
        )
    assert arrays == [[0, 1, 2, 3]] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_writing_into_a_mapped_array_leaves_the_file_alone(tmp_path: Path) -> None:
    array = cache.stored_array(tmp_path / "a.npy", (4,), np.int64, lambda: [np.arange(4)])
    array[0] = 7
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2, 3]


# --- folders ----------------------------------------------------------------------------------------------------------


COLORS = {"blue": (0, 0, 255), "red": (255, 0, 0)}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three train images and one test image of each of two colors, 16 x 12."""
    root = tmp_path / "colors"
    for split, count in (("train", 3), ("test", 1)):
        for name, color in COLORS.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (16, 12), color).save(root / split / name / f"{number}.png")
    return root


def params_for(root: Path, size: int = 8, **others: object) -> folder.FolderParams:
    return folder.FolderParams(path=str(root), size=size, **others)  # type: ignore[arg-type]  # passed on as given


def test_a_folder_is_as_described_and_in_the_order_of_its_names(tree: Path, tmp_path: Path) -> None:
    info = folder.describe(params_for(tree), tmp_path)
    dataset = folder.load(params_for(tree), tmp_path)
    assert (info.label, info.num_train, info.num_test, info.image_shape) == ("colors", 6, 2, (3, 8, 8))
    assert_as_described(dataset, info)
    assert dataset.class_names == ("blue", "red")
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.train.images[:, :, 4, 4].tolist() == [[0, 0, 255]] * 3 + [[255, 0, 0]] * 3
    assert dataset.test.images[:, :, 4, 4].tolist() == [[0, 0, 255], [255, 0, 0]]


def test_a_second_load_decodes_nothing(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder.load(params_for(tree), tmp_path)
    monkeypatch.setattr(decoding, "decode", None)
    second = folder.load(params_for(tree), tmp_path)
    assert np.array_equal(first.train.images, second.train.images)


def test_a_second_description_reads_no_file(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder.describe(params_for(tree), tmp_path)
    monkeypatch.setattr(listing, "_hash_files", None)
    assert folder.describe(params_for(tree), tmp_path) == first


def test_the_fingerprint_goes_with_the_content_not_with_the_path(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "other"
    shutil.copytree(tree, copy)
    os.utime(copy / "train" / "red" / "0.png", (1, 1))
    original = folder.describe(params_for(tree), tmp_path / "a")
    copied = folder.describe(params_for(copy), tmp_path / "b")
    assert (original.label, copied.label) == ("colors", "other")
    assert original.fingerprint == copied.fingerprint
    assert str(tmp_path) not in str(copied)


def test_the_fingerprint_changes_with_content_name_class_size_and_color(tree: Path, tmp_path: Path) -> None:
    seen = [folder.describe(params_for(tree, **p), tmp_path).fingerprint for p in ({}, {"size": 9}, {"gray": True})]
    (tree / "train" / "red" / "0.png").rename(tree / "train" / "red" / "4.png")
    seen.append(folder.describe(params_for(tree), tmp_path).fingerprint)
    shutil.copy(tree / "train" / "blue" / "0.png", tree / "train" / "red" / "4.png")
    seen.append(folder.describe(params_for(tree), tmp_path).fingerprint)
    (tree / "train" / "red" / "4.png").rename(tree / "train" / "blue" / "4.png")
    seen.append(folder.describe(params_for(tree), tmp_path).fingerprint)
    assert len(set(seen)) == 6


def test_a_changed_image_of_the_same_size_and_time_is_seen(tree: Path, tmp_path: Path) -> None:
    path = tree / "train" / "red" / "0.bmp"  # no compression: every color takes as many bytes
    Image.new("RGB", (8, 8), (255, 0, 0)).save(path)
    os.utime(path, ns=(0, 0))
    before = folder.load(params_for(tree), tmp_path)
    fingerprint = folder.describe(params_for(tree), tmp_path).fingerprint
    Image.new("RGB", (8, 8), (0, 255, 0)).save(path)
    os.utime(path, ns=(0, 0))
    assert folder.describe(params_for(tree), tmp_path).fingerprint != fingerprint
    after = folder.load(params_for(tree), tmp_path)
    assert before.train.images[3, :, 0, 0].tolist() == [255, 0, 0]
    assert after.train.images[3, :, 0, 0].tolist() == [0, 255, 0]


def test_a_data_folder_that_cannot_be_written_only_costs_time(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    closed = tmp_path / "file" / "data"
    with caplog.at_level("INFO", logger="benchmark"):
        dataset = folder.load(params_for(tree), closed)
    assert_as_described(dataset, folder.describe(params_for(tree), tmp_path))
    assert dataset.train.images[5, :, 0, 0].tolist() == [255, 0, 0]
    assert "cannot be kept" in caplog.text


def test_the_name_is_shown_and_links_are_followed(tree: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tree)
    (tree / "train" / "red" / "deeper").mkdir()
    (tree / "train" / "red" / "deeper" / "4.png").symlink_to(tree / "train" / "red" / "0.png")
    info = folder.describe(params_for(link), tmp_path)
    assert (info.label, info.num_train) == ("link", 7)
    assert folder.describe(params_for(link, name="mine"), tmp_path).label == "mine"


def test_files_that_are_no_images_and_dot_folders_are_passed_over(tree: Path, tmp_path: Path) -> None:
    before = folder.describe(params_for(tree), tmp_path)
    for name in ("notes.txt", "Thumbs.db", ".DS_Store", "png"):
        (tree / "train" / "red" / name).write_text("no image")
    (tree / "train" / "README.md").write_text("no class")
    (tree / "train" / ".cache").mkdir()
    assert folder.describe(params_for(tree), tmp_path) == before


def test_damaged_images_are_counted_and_named(tree: Path, tmp_path: Path) -> None:
    whole = (tree / "train" / "red" / "0.png").read_bytes()
    for number in range(11):
        (tree / "train" / "red" / f"cut{number:02}.PNG").write_bytes(whole[:-30])
    (tree / "test" / "blue" / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"of 20 images, 12 files .*cannot be decoded") as caught:
        folder.load(params_for(tree), tmp_path)
    message = str(caught.value)
    assert all(f"train/red/cut{number:02}.PNG" in message for number in range(10))
    assert "train/red/cut10.PNG" not in message
    assert "and 2 more" in message
    assert not list((tmp_path / "folder").rglob("*.npy*"))


def remove(*names: str) -> object:
    return lambda root: [shutil.rmtree(root / name) for name in names]


def emptied(root: Path) -> None:
    (root / "test" / "red" / "0.png").rename(root / "test" / "red" / "0.txt")


def flattened(root: Path) -> None:
    for path in (root / "train").iterdir():
        shutil.rmtree(path)


def renamed(root: Path) -> None:
    (root / "test").rename(root / "val")


def lost(root: Path) -> None:
    (root / "train" / "red" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "train" / "red" / "loop.png").symlink_to("loop.png")


def looped(root: Path) -> None:
    (root / "train" / "red" / "again").symlink_to(root / "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("."), "does not exist"),
        (remove("train"), "there is no folder 'train'"),
        (remove("test"), r"there is no folder 'test'\. It wants train/<class>/<image>"),
        (renamed, "there is 'val': rename it to 'test'"),
        (flattened, "'train' holds no class folder"),
        (remove("test/red"), r"different classes; only in train: 1 class \(red\)"),
        (remove("train/blue"), r"different classes; only in test: 1 class \(blue\)"),
        (remove("train/red", "test/red"), "one class only, 'blue'"),
        (emptied, r"1 class \(test/red\) without a file that Pillow knows"),
        (lost, r"2 files \(train/red/gone.png, train/red/loop.png\) cannot be read"),
        (looped, "train/red/again is a link to a folder that it lies in"),
    ],
)
def test_a_tree_of_another_shape_is_refused_with_the_reason(
    tree: Path, tmp_path: Path, change: object, message: str
) -> None:
    assert callable(change)
    change(tree)
    with pytest.raises(DataError, match=message) as caught:
        folder.describe(params_for(tree), tmp_path)
    assert f"dataset 'folder' at {tree}" in str(caught.value)


def test_a_folder_wants_a_path_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"write 'folder\[path=DIR\]'"):
        folder.describe(folder.FolderParams(), tmp_path)
    (tmp_path / "images.zip").touch()
    with pytest.raises(DataError, match="is a file; unpack it"):
        folder.describe(params_for(tmp_path / "images.zip"), tmp_path)


def test_sizes_below_8_and_names_with_slashes_are_refused() -> None:
    with pytest.raises(ValueError, match="size=7 is too small"):
        folder.FolderParams(size=7)
    with pytest.raises(ValueError, match="a name has no slashes"):
        folder.FolderParams(name="a/b")


# --- decoding ---------------------------------------------------------------------------------------------------------


def gradient(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(40, 31), (31, 40), (9, 64), (24, 24), (10, 10)])
def test_resizing_and_cropping_are_torchvisions(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = Image.fromarray(gradient(*shape))
    image.save(tmp_path / "a.png")
    transform = torchvision.transforms.Compose(
        [torchvision.transforms.Resize(24), torchvision.transforms.CenterCrop(24), torchvision.transforms.PILToTensor()]
    )
    assert np.array_equal(decoding.decode(tmp_path / "a.png", 24, gray=False), transform(image).numpy())


def test_an_image_of_the_right_size_is_unchanged(tmp_path: Path) -> None:
    pixels = gradient(8, 8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(decoding.decode(tmp_path / "a.png", 8, gray=False), pixels.transpose(2, 0, 1))


def test_an_image_with_the_suffix_of_another_format_is_read(tmp_path: Path) -> None:
    pixels = gradient(8, 8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(decoding.decode(tmp_path / "a.jpg", 8, gray=False), pixels.transpose(2, 0, 1))


def test_a_photograph_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    pixels = gradient(8, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: a quarter turn clockwise shows it upright
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(pixels, k=-1).transpose(2, 0, 1)
    assert np.array_equal(decoding.decode(tmp_path / "a.png", 8, gray=False), upright)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_every_mode_of_color_becomes_three_channels_or_one(tmp_path: Path) -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    deep = Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16))
    palette = red.convert("P")
    clear = Image.new("P", (8, 8), 0)
    clear.putpalette([255, 255, 255] * 2)
    cases = {
        "palette": (saved(palette, tmp_path / "p.png"), [255, 0, 0]),
        "cmyk": (saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "c.tif"), [255, 0, 0]),
        "transparent": (saved(half, tmp_path / "a.png"), [0, 0, 0]),
        "transparent palette": (saved(clear, tmp_path / "t.png", transparency=b"\0\0"), [0, 0, 0]),
        "16 bits": (saved(deep, tmp_path / "d.png"), [40_000 // 256] * 3),
        "16 bits, tiff": (saved(deep, tmp_path / "d.tif"), [40_000 // 256] * 3),
        "16 bits, pgm": (saved(deep, tmp_path / "d.pgm"), [40_000 // 256] * 3),
        "black and white": (saved(Image.new("1", (8, 8), 1), tmp_path / "b.png"), [255, 255, 255]),
        "gray and alpha": (saved(Image.new("LA", (8, 8), (9, 255)), tmp_path / "l.png"), [9, 9, 9]),
    }
    for name, (path, color) in cases.items():
        pixels = decoding.decode(path, 8, gray=False)
        assert pixels.shape == (3, 8, 8), name
        assert pixels[:, 3, 3].tolist() == color, name
        assert decoding.decode(path, 8, gray=True).shape == (1, 8, 8), name


def test_gray_is_the_luma_of_itu_r_601(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (8, 8), (200, 100, 50)), tmp_path / "a.png")
    assert decoding.decode(path, 8, gray=True)[0, 0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_pixels_without_an_agreed_range_are_refused(tmp_path: Path) -> None:
    path = saved(Image.new("F", (8, 8), 0.5), tmp_path / "a.tif")
    with pytest.raises(ValueError, match="no agreed range"):
        decoding.decode(path, 8, gray=False)


@pytest.mark.parametrize("workers", [1, 3])
def test_blocks_and_threads_do_not_change_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    names = [f"{number}.png" for number in range(10)]
    for number, name in enumerate(names):
        Image.new("L", (8, 8), number).save(tmp_path / name)
    monkeypatch.setattr(decoding, "BLOCK_BYTES", 4 * 64)
    blocks = list(decoding.decode_all(tmp_path, names, 8, gray=True, workers=workers))
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert np.concatenate(blocks)[:, 0, 0, 0].tolist() == list(range(10))


def test_small_files_are_decoded_by_one_thread() -> None:
    assert decoding.threads_for(1000) == 1
    assert decoding.threads_for(100_000) >= 1
