"""Linear CKA."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.analysis.cka import linear_cka


def test_linear_cka_is_invariant_to_rotation_and_scale_only() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 8))
    rotation, _ = np.linalg.qr(generator.normal(size=(8, 8)))
    assert linear_cka(x, 3 * x @ rotation + 1) == pytest.approx(1.0)
    assert linear_cka(x, generator.normal(size=(500, 8))) < 0.1
    assert linear_cka(x, x * np.arange(1, 9)) < 0.99
    # By hand: (sum xy)^2 / (sum x^2 sum y^2), both centered, for one dimension each.
    assert linear_cka(np.array([[0.0], [1], [2]]), np.array([[0.0], [0], [3]])) == pytest.approx(0.75)
    wide = generator.normal(size=(5, 40))
    assert linear_cka(wide, wide) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="features of 5 and of 4 images"):
        linear_cka(wide, wide[:4])
    with pytest.raises(ValueError, match="the same for every image"):
        linear_cka(wide, np.ones((5, 2)))
