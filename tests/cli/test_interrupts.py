"""SIGTERM and SIGHUP interrupt a command like Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Launch
from launched import by_label, command, ended, notes, until, until_all_gone

from benchmark.cli.interrupts import interruptible


@pytest.fixture(autouse=True)
def _default_handlers() -> Iterator[None]:
    """A test run under nohup inherits an ignored SIGHUP, which `interruptible` leaves ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupted_by(*numbers: signal.Signals) -> bool:
    """Whether the signals, one after another, interrupt the block."""
    try:
        with interruptible():
            for number in numbers:
                os.kill(os.getpid(), number)
    except KeyboardInterrupt:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_interrupts_and_its_handler_is_restored(number: signal.Signals) -> None:
    assert interrupted_by(number)
    assert signal.getsignal(number) == signal.SIG_DFL


def test_ignored_hangup_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert not interrupted_by(signal.SIGHUP)


def test_further_hangups_do_not_interrupt_the_checkpoints() -> None:
    for first in (signal.SIGHUP, signal.SIGTERM):
        with interruptible():
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), first)
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_signal_to_all_processes_leaves_a_checkpoint_of_each_cell(
    launch: Launch, environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    activity = tmp_path / "activity"
    more = {"THIRD_PARTY_ACTIVITY": str(activity), "THIRD_PARTY_STEP_SECONDS": "0.2"}
    words = command("steady,steady_noise", "--epochs", "3", "--per-device", "2")
    process = launch(words, tmp_path, **environment, **more)
    until(lambda: sum(word == "step" for word, _, _ in notes(activity)) >= 4, "both cells to train")
    os.killpg(process.pid, number)
    result = ended(process, tmp_path)
    assert result.code == 130, result.tail()
    until_all_gone(process)
    assert {record.state for record in by_label(tmp_path).values()} == {"interrupted"}
    assert len(list((tmp_path / "runs").glob("*/checkpoint.pt"))) == 2
