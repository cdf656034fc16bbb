"""Formats and limits: `bench_images.formats`. Files that name a program or claim to be huge are refused unread."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_samples import make_tree, params_for
from PIL import Image, ImageFile

from bench_images import folder
from bench_images.formats import MAX_PIXELS, open_image, readable_suffixes
from benchmark import DataError

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
REFUSED = {
    "EPS": EPS,
    "PSD": b"8BPS\0\1" + bytes(60),
    "ICNS": b"icns\0\0\0\x10ic07" + bytes(60),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(60),
    "GRIB": b"GRIB\0\0\0\1" + bytes(60),
    "WMF": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "PDF": b"%PDF-1.7\n" + bytes(60),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "HTML": b"<html>404</html>",
    "empty": b"",
}


def test_named_formats_are_decoders_of_pillow() -> None:
    assert {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm"} <= readable_suffixes().keys()
    assert set(readable_suffixes().values()) <= Image.OPEN.keys()
    assert {"EPS", "WMF", "HDF5", "GRIB", "BUFR", "PSD", "ICNS", "FITS", "MPEG"}.isdisjoint(
        readable_suffixes().values()
    )


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tga"])
def test_other_format_with_the_suffix_of_an_image_is_named(tmp_path: Path, kind: str, suffix: str) -> None:
    root = make_tree(tmp_path / "colors")
    (root / "train" / "red" / f"x{suffix}").write_bytes(REFUSED[kind])
    with pytest.raises(DataError, match=f"train/red/x{suffix}: (not an image of a supported format|the file is empty)"):
        folder.load(params_for(root), tmp_path)


def test_postscript_with_the_suffix_of_an_image_starts_no_program(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "colors")
    (root / "train" / "red" / "x.png").write_bytes(EPS)
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    code = f"""
from pathlib import Path
from bench_images import folder
info = folder.load(folder.FolderParams(path={str(root)!r}, size=8, on_error="skip"), Path({str(tmp_path)!r}))
print(len(info.train.images))
"""
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "6"
    assert not (tmp_path / "started").exists()


def huge_png(side: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = struct.pack(">I", 9) + b"IDAT" + zlib.compress(b"") + bytes(4)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + data


def huge_bmp(side: int) -> bytes:
    return struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0
    )


def huge_gif(side: int) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", side, side, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, side, side, 0)
        + b"\x08"
    )


def huge_ppm(side: int) -> bytes:
    return b"P6 %d %d 255\n" % (side, side)


@pytest.mark.parametrize("write", [huge_png, huge_bmp, huge_gif, huge_ppm])
def test_bomb_is_refused_by_its_header(tmp_path: Path, write: object) -> None:
    assert callable(write)
    root = make_tree(tmp_path / "colors")
    (root / "train" / "red" / "bomb.png").write_bytes(write(60_000))
    reason = "60000 x 60000 pixels are more than the limit of 300,000,000"
    with pytest.raises(DataError, match=f"train/red/bomb.png: {reason}"):
        folder.load(params_for(root), tmp_path)
    assert folder.load(params_for(root, on_error="skip"), tmp_path).skipped == {"train/red/bomb.png": reason}


def test_text_chunk_that_expands_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(path)
    content = path.read_bytes()
    text = b"zTXtkey\0\0" + zlib.compress(bytes(200_000_000))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    path.write_bytes(content[:33] + chunk + content[33:])
    with pytest.raises(ValueError, match="too large"):
        open_image(path, ".png")


def test_limit_is_above_200_megapixels_and_pillows_limit_is_restored(tmp_path: Path) -> None:
    assert MAX_PIXELS >= 200_000_000
    before = Image.MAX_IMAGE_PIXELS
    folder.load(params_for(make_tree(tmp_path / "colors")), tmp_path)
    assert before == Image.MAX_IMAGE_PIXELS


def test_truncated_image_is_an_error_where_another_library_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_tree(tmp_path / "colors")
    path = root / "train" / "red" / "0.png"
    path.write_bytes(path.read_bytes()[:-30])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError, match="cannot decode 1 file"):
        folder.load(params_for(root), tmp_path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.slow
@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_image_of_200_megapixels_is_decoded(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "colors")
    large = np.zeros((14_200, 14_100), dtype=np.uint8)
    large[:7100] = 200
    Image.fromarray(large).save(root / "train" / "red" / "large.png", compress_level=1)
    image = folder.load(params_for(root), tmp_path).train.images[-1]
    assert image[0, :3].min() == 200
    assert image[0, 5:].max() == 0
