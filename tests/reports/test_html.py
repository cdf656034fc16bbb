"""Tables as HTML."""

from __future__ import annotations

from benchmark.reports.html import html_text
from benchmark.reports.table import Table


def test_html_escapes_texts_and_marks_the_best() -> None:
    table = Table(
        title="knn <on> digits",
        columns=("method", "map"),
        rows=(("a & b", "0.5"), ("<script>", "0.25")),
        best=frozenset({(0, 1)}),
        notes=("±: <spread>",),
    )
    text = html_text([table, table])
    assert text.count("<table>") == 2
    assert "<caption>knn &lt;on&gt; digits</caption>" in text
    assert "<td>a &amp; b</td><td><b>0.5</b></td>" in text
    assert "<script>" not in text
    assert "&lt;spread&gt;" in text
