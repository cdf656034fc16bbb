"""Conformance checks that plugin authors run in their tests.

    from benchmark.testing import check_method
    from bench_mine import MINE

    def test_mine_conforms() -> None:
        check_method(MINE)

Each check raises ConformanceError with a message that says what is wrong and what is valid. The checks run on a CPU with
a few small images and take about a second. This package may import every package but `benchmark.cli`.
"""

from benchmark.testing.conformance import ConformanceError
from benchmark.testing.datasets import check_dataset
from benchmark.testing.encoders import check_encoder
from benchmark.testing.evaluators import check_evaluator
from benchmark.testing.methods import check_method
from benchmark.testing.miniature import SMALL_ENCODER, probe_subject, small_images

__all__ = [
    "SMALL_ENCODER",
    "ConformanceError",
    "check_dataset",
    "check_encoder",
    "check_evaluator",
    "check_method",
    "probe_subject",
    "small_images",
]
