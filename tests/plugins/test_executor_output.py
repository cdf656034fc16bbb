"""The part of a crashed process's output that its record keeps and its reason quotes."""

from __future__ import annotations

from bench_executors.output import KEPT_CHARACTERS, kept_part, last_lines

THREAD = "Thread 0x00007f7abf84c950 (most recent call first):\n" + "".join(
    f'  File "/usr/lib/python3.11/threading.py", line {number} in wait\n' for number in range(40)
)
REPORT = f"""Fatal Python error: Segmentation fault

{THREAD * 3}
Current thread 0x00007f7ac0000740 (most recent call first):
  File "/plugins/faulty.py", line 7 in loss
  File "/plugins/faulty.py", line 3 in step

Extension modules: torch
"""


def test_reason_of_a_fault_quotes_the_whole_line_before_a_report_of_many_threads() -> None:
    text = kept_part("epoch 1\nthe method reads an invalid address\n" + REPORT)
    assert len(text) <= KEPT_CHARACTERS
    assert "epoch 1 | the method reads an invalid address | Fatal Python error: Segmentation fault" in last_lines(text)


def test_reason_of_a_fault_quotes_the_innermost_call_of_its_own_thread() -> None:
    report = REPORT.replace(THREAD * 3, THREAD[:400])
    assert last_lines(kept_part(report)).endswith('Segmentation fault | File "/plugins/faulty.py", line 7 in loss')


def test_kept_part_of_a_long_output_is_its_last_whole_lines() -> None:
    lines = [f"line {number}" for number in range(10_000)]
    text = kept_part("\n".join(lines))
    assert KEPT_CHARACTERS - 10 < len(text) <= KEPT_CHARACTERS
    assert text.splitlines() == lines[-len(text.splitlines()) :]


def test_kept_part_of_one_long_line_is_its_end() -> None:
    assert kept_part("a" * 10_000 + "b") == "a" * (KEPT_CHARACTERS - 1) + "b"


def test_short_output_is_kept_whole() -> None:
    assert kept_part("one\ntwo") == "one\ntwo"
    assert last_lines("") == ""
