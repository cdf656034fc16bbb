"""Ways in which the file of a record can be damaged, each with a part of the reason that readers give."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[Path], None]
"""Damages a file."""
SCORES = rb'"scores": \[(.*?)\n \]'
NESTED = b'"details": {"x":' + b"[" * 300 + b"]" * 300
DEEP = json.loads('{"a":' * 100 + "1" + "}" * 100)


def with_value(text: str) -> Damage:
    """The value of the first score becomes this JSON."""
    return edited(lambda body: re.sub(rb'"value": [0-9.e-]+', f'"value": {text}'.encode(), body, count=1))


def edited(change: Callable[[bytes], bytes]) -> Damage:
    """The bytes of the file are changed."""

    def damage(path: Path) -> None:
        before = path.read_bytes()
        path.write_bytes(change(before))
        assert path.read_bytes() != before

    return damage


def with_field(*keys: str | int, value: object) -> Damage:
    """A field, named by its keys, becomes a value."""

    def damage(path: Path) -> None:
        body: Any = json.loads(path.read_bytes())
        part = body
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
        path.write_text(json.dumps(body, indent=1))

    return damage


def instead(make: Callable[[Path], object]) -> Damage:
    """The file is removed, and something else is in its place."""

    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def sparse_file(path: Path) -> None:
    """10 GB of zeros that take no disk."""
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


SPECIAL_FILES: dict[str, tuple[Damage, str]] = {
    "FIFO": (instead(os.mkfifo), "it is a FIFO"),
    "folder": (instead(Path.mkdir), "it is a folder"),
    "device": (instead(lambda path: path.symlink_to("/dev/zero")), "it is a device"),
    "link in a circle": (instead(lambda path: path.symlink_to(path.name)), "symbolic links"),
    "10 GB": (instead(sparse_file), "10,737,418,240 bytes, more than"),
}
"""What is not a regular file of a plausible size."""
DAMAGED_RECORDS: dict[str, tuple[Damage, str]] = {
    **SPECIAL_FILES,
    "link to nothing": (instead(lambda path: path.symlink_to("nowhere")), "no record.json"),
    "value NaN": (with_value("NaN"), "NaN is not a number"),
    "value 1e999": (with_value("1e999"), "1e999 is not a number"),
    "value 2": (with_value("2.0"), "is 2.0, but must be between 0 and 1"),
    "value -3": (with_value("-3"), "is -3.0, but must be between 0 and 1"),
    "value true": (with_value("true"), "got `bool`"),
    "value text": (with_value('"0.9"'), "got `str`"),
    "value null": (with_value("null"), "got `null`"),
    "value of 5000 digits": (with_value("9" * 5000), "is damaged"),
    "value of 400 digits": (with_value("1" + "0" * 400), "out of range"),
    "n -5": (with_field("scores", 0, "n", value=-5), "is of -5 images"),
    "n 1.5": (with_field("scores", 0, "n", value=1.5), "got `float`"),
    "n true": (with_field("scores", 0, "n", value=True), "got `bool`"),
    "n of 30 digits": (with_field("scores", 0, "n", value=10**30), "images"),
    "seed text": (with_field("cell", "seed", value="0"), "got `str`"),
    "seed float": (with_field("cell", "seed", value=0.5), "got `float`"),
    "seed -1": (with_field("cell", "seed", value=-1), ">= 0"),
    "epochs text": (with_field("cell", "recipe", "epochs", value="6"), "got `str`"),
    "recipe null": (with_field("cell", "recipe", value=None), "got `null`"),
    "label number": (with_field("cell", "method", "label", value=5), "got `int`"),
    "label surrogate": (with_field("cell", "method", "label", value="a\ud800"), "surrogates"),
    "params list": (with_field("cell", "method", "params", value=[1]), "got `array`"),
    "params deep": (with_field("cell", "method", "params", value=DEEP), "levels deep"),
    "state": (with_field("state", value="finished"), "finished"),
    "id": (with_field("id", value="../x"), "64 hexadecimal digits"),
    "cost -1": (with_field("cost", "train_seconds", value=-1), ">= 0"),
    "cost of 400 digits": (with_field("cost", "images_seen", value=10**400), "out of range"),
    "check text": (with_field("checks", "trained", value="yes"), "got `str`"),
    "overlap list": (with_field("checks", "overlap", value=[1]), "got `array`"),
    "requests": (with_field("checks", "not_applicable", value=[{"tap": 1}]), "got `int`"),
    "versions": (with_field("provenance", "versions", value={"method": {}}), "got `object`"),
    "score twice": (
        edited(lambda body: re.sub(rb'"scores": \[(.*?)\n \]', rb'"scores": [\1,\1]', body, flags=re.S)),
        "twice",
    ),
    "deep": (edited(lambda body: b"[" * 100_000), "levels deep"),
    "deep details": (
        edited(lambda body: body.replace(b'"details": {', b'"details": {"x":' + b"[" * 300 + b"]" * 300, 1)),
        "levels",
    ),
    "empty": (edited(lambda body: b""), "is damaged"),
    "zeros": (edited(lambda body: bytes(len(body))), "is damaged"),
    "cut": (edited(lambda body: body[: len(body) // 2]), "is damaged"),
    "no UTF-8": (edited(lambda body: body.replace(b'"value"', b'"val\xff"', 1)), "is damaged"),
    "UTF-16": (edited(lambda body: body.decode().encode("utf-16")), "is damaged"),
    "list": (edited(lambda body: b"[]"), "is not a record"),
    "two objects": (edited(lambda body: body + body), "is damaged"),
    "schema version true": (with_field("schema_version", value=True), "schema version True"),
}
"""Files that are no records."""
