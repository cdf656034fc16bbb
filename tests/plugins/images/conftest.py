"""The fixture `tree`: a folder of images."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_samples import make_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with three train images and one test image of each of two colors."""
    return make_tree(tmp_path / "colors")
