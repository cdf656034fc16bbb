"""Tables as markdown and LaTeX."""

from __future__ import annotations

import pytest
from sample_records import awkward_tables

from benchmark.reports.render import markdown_text, render_tables
from benchmark.reports.table import Table


def test_markdown_table_has_the_best_in_bold() -> None:
    text = render_tables(awkward_tables(), "md")
    lines = text.splitlines()
    assert lines[0] == "### knn on digits (knn@1, n = 8 test images)"
    assert lines[2].replace(" ", "") == "|method|encoder|tap|epochs|seeds|accuracy@k=20|remarks|"
    assert "**0.5500 ±0.0707**" in lines[4]
    assert "aet[transform=affine]" in lines[4]


def test_markdown_escapes_bars_and_line_breaks() -> None:
    lines = render_tables(awkward_tables(), "md").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == (2 + 3) + (2 + 1)
    assert {row.replace("\\|", "").count("|") for row in rows[:5]} == {8}
    assert {row.replace("\\|", "").count("|") for row in rows[5:]} == {7}
    assert "failed: 100 % \\| of it" in rows[4]


def test_latex_uses_booktabs_escapes_and_bold() -> None:
    text = render_tables(awkward_tables(), "latex")
    assert text.startswith("% knn on digits (knn@1, n = 8 test images)\n")
    assert text.count("\\toprule") == text.count("\\bottomrule") == 2
    assert "\\textbf{0.5500 ±0.0707}" in text
    assert "dim\\_local" in text
    assert "100 \\% " in text
    body = [line for line in text.splitlines() if "&" in line]
    assert {line.count("&") for line in body[:4]} == {6}
    assert all(line.endswith("\\\\") for line in body)


def test_line_break_in_a_title_or_note_does_not_end_a_latex_comment() -> None:
    table = Table(title="knn on my\nphotos", columns=("method",), rows=(("aet",),), notes=("first\n\\input{evil}",))
    lines = render_tables([table], "latex").splitlines()
    assert lines[0] == "% knn on my photos"
    assert lines[-1] == "% first \\input{evil}"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("aet[transform=affine] dim_local accuracy@k=20", "aet[transform=affine] dim_local accuracy@k=20"),
        ("[ ]: 95 % interval", "[ ]: 95 % interval"),
        ("<b>x</b> & y", "&lt;b&gt;x&lt;/b&gt; &amp; y"),
        ("a|b *c* _d_ `e` ~f~ g\\h", "a\\|b \\*c\\* \\_d\\_ \\`e\\` \\~f\\~ g\\\\h"),
        ("[x](http://y) ![x](z) [x][y]", "[x]\\(http://y) ![x]\\(z) [x]\\[y]"),
        ("# a", "\\# a"),
        ("- a", "\\- a"),
        ("1. a", "1\\. a"),
        ("12)", "12\\)"),
        ("---", "\\---"),
        ("[x]: y", "\\[x]: y"),
        ("a\nb", "a b"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text: str, escaped: str) -> None:
    assert markdown_text(text) == escaped
