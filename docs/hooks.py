"""MkDocs hook: shows the examples of a command's help as a code block."""

from __future__ import annotations

import re
from typing import Any


def on_page_content(html: str, **context: Any) -> str:
    """Turns `<p>Examples:` with one command per line, which Markdown joins into a paragraph, into a code block."""
    return re.sub(
        r"<p>Examples:\n((?:\s*bench .*\n?)+)</p>",
        lambda match: f'<p>Examples:</p>\n<div class="highlight"><pre><code>{_lines(match[1])}</code></pre></div>',
        html,
    )


def _lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())
