"""The catalog of installed plugins."""

from __future__ import annotations

import pytest

from benchmark.api.catalog import Catalog, load_catalog


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog("")
