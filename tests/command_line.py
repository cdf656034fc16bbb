"""Options of quick `bench run` commands, and assertions about a command."""

from __future__ import annotations

from click.testing import Result

STRIPES = ("--encoders", "tiny", "--dataset", "stripes", "--evaluators", "centroid")
"""The third-party encoder, dataset and evaluator."""
INLINE = ("--executor", "inline", "--device", "cpu", "--epochs", "1", "--no-floors")
"""One epoch in this process."""


def assert_refused(result: Result, *messages: str, code: int = 2) -> None:
    """The command ends with this exit code and with these messages on standard error, without a traceback."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    for message in messages:
        assert message in result.stderr, result.stderr
