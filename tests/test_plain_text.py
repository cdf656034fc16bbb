"""Plain text: what names may hold, how other text is shown, texts in CSV files."""

from __future__ import annotations

import csv
import io

import pytest

from benchmark.plain_text import csv_field, hidden_character, message_text, one_line, shortened, text_of_field, visible

TEXTS = [
    *("aet[transform=affine]", "-", "", "-0.5", "+3", "1e-3", "a\u00e9\u4e2d", "a b", "a,b", 'a"b', "'quoted'", "'"),
    *(
        "=1+1",
        "+cmd",
        "-x",
        "@sum",
        "'=x",
        "''=x",
        "'-",
        "--",
        "\uff1d1",
        "::error::x",
        "'::x",
        "-1-1",
        "=cmd|' /C calc'!A0",
    ),
]
HIDDEN = "\x00\x07\x08\x1b\x7f\x85\x9b\u00ad\u061c\u200b\u200d\u200e\u202e\u2028\u2066\u2069\ufeff\ue000\udc80\ufffe\U000e0001"
"""Characters without a shape: control, direction, zero width, private use, surrogate."""


@pytest.mark.parametrize("text", TEXTS)
def test_field_of_a_csv_gives_the_text_back(text: str) -> None:
    stream = io.StringIO()
    csv.writer(stream).writerow([csv_field(text)])
    (row,) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert text_of_field(row[0]) == text


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-x", "@sum", "'=x", "--", "\uff1d1", "::error::x", "-1-1", "+1e"])
def test_field_of_a_csv_starts_no_formula(text: str) -> None:
    assert csv_field(text).startswith("'")


@pytest.mark.parametrize("text", ["aet", "-", "-0.5", "+3", "1e-3", "a=b", "'quoted'", "12:30", "a::b", ""])
def test_field_without_a_formula_is_unchanged(text: str) -> None:
    assert csv_field(text) == text


def test_hidden_characters_are_shown_as_escapes() -> None:
    shown = visible(f"a{HIDDEN}b")
    assert shown.isprintable()
    assert shown.encode()
    assert shown.startswith("a\\x00\\x07\\x08\\x1b\\x7f\\x85\\x9b\\xad\\u061c")
    assert shown.endswith("\\U000e0001b")
    assert csv_field(HIDDEN).isprintable()


@pytest.mark.parametrize("text", ["a\u00a0b", "\u4e2d\u6587", "e\u0301", "\U0001f600", "a\\x1b"])
def test_text_with_a_shape_is_unchanged(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    "text",
    ["::set-output name=a::b", "a\n::stop-commands::x", " ::debug::x", "##[error]x", "a##[group]b", "x::error::y"],
)
def test_workflow_commands_are_shown_as_escapes(text: str) -> None:
    shown = visible(text, keep="\n")
    assert "##[" not in shown
    assert not any(line.strip().startswith("::") for line in shown.splitlines())
    assert "::error" not in shown


@pytest.mark.parametrize("text", ["aten::addmm", "a::b::c", "# [x]", "12:30"])
def test_colons_within_words_are_no_workflow_command(text: str) -> None:
    assert visible(text) == text


def test_names_refuse_control_characters_and_changed_direction_but_no_joiners() -> None:
    for character in "\x00\t\n\r\x1b\x85\u2028\u202e\u2066\u200f\udc80":
        assert hidden_character(f"a{character}b")
    for character in "\u200d\u200c\u00a0\u4e2d\u0301":
        assert not hidden_character(f"a{character}b")


def test_long_text_keeps_start_and_end() -> None:
    text = message_text("a" * 5000 + "\x1b" + "b" * 5000)
    assert len(text) < 2100
    assert (text[:2], text[-2:]) == ("aa", "bb")
    assert "8001 characters" in text
    assert shortened("abc", 3) == "abc"


def test_one_line_has_single_spaces() -> None:
    assert one_line(" a\n\tb\x00 ") == "a b\\x00"
