"""Plain text: what names and labels may hold, how other text is shown, and text as a field of a CSV file.

Texts of plugins, files and records reach terminals, CI logs, spreadsheets and web pages. A character that would move the
cursor, reverse the direction of text or start a formula is shown as an escape, never written as it is.
"""

from __future__ import annotations

import re
import unicodedata

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories without a shape of their own: control and format characters (terminal escapes, reversed direction,
zero width), surrogates, private use, line and paragraph separators."""
BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of the text after them."""
WORKFLOW_COMMAND = re.compile(
    r"(?<!\S):(?=:)|#(?=#\[)|:(?=:(?:set|add|remove|stop|save)-|:(?:error|warning|notice|debug|group|endgroup|echo|internal))"
)
"""The first character of what GitHub and Azure run as a command if a line of a log starts with it: `::add-mask::`, `##[error]`.

Known commands are escaped within words too, since a narrow table may break a line there.
"""
FORMULA = re.compile(r"'*(?:[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]|::)")
"""Starts of a text that a spreadsheet computes, or a CI log runs."""
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
MAX_CHARACTERS = 2000
"""Length of an error text; longer ones are cut in the middle."""


def visible(text: str, keep: str = "") -> str:
    """The text with an escape such as `\\x1b` or `\\u202e` for each hidden character.

    Args:
        text: any text.
        keep: hidden characters that stay, such as line breaks.
    """
    if not text.isprintable():
        text = "".join(each if each in keep else _shown(each) for each in text)
    return WORKFLOW_COMMAND.sub(lambda match: _escape(match[0]), text) if "::" in text or "##[" in text else text


def one_line(text: str) -> str:
    """Visible text with single spaces instead of line breaks and other white space."""
    return visible(" ".join(text.split()))


def message_text(text: str) -> str:
    """An error text for people: hidden characters are shown, line breaks and tabs stay, and the middle of a long one is
    cut out.
    """
    return visible(shortened(text), keep="\n\t")


def shortened(text: str, length: int = MAX_CHARACTERS) -> str:
    """The text, or its start and end with the number of characters left out."""
    if len(text) <= length:
        return text
    kept = max(1, length // 2)
    return f"{text[:kept]} [... {len(text) - 2 * kept} characters ...] {text[-kept:]}"


def error_text(error: BaseException) -> str:
    """The text of an error in one line, without the middle of a long one. `__str__` of a plugin's error may raise."""
    try:
        return shortened(" ".join(str(error).split()))
    except Exception as unreadable:
        return f"(its text cannot be read: {type(unreadable).__name__})"


def hidden_character(text: str) -> str:
    """The first character that a name or a value must not hold, as an escape; empty if there is none.

    These are control characters (line breaks, terminal escapes, NUL), line separators, characters that change the direction
    of text, and bytes that are not UTF-8. Zero-width joiners are part of words in some languages and valid.
    """
    if text.isprintable():
        return ""
    refused = next((each for each in text if _is_refused(each)), "")
    return f"{_escape(refused)} (a byte that is not UTF-8)" if "\ud800" <= refused <= "\udfff" else _escape(refused)


def csv_field(text: str) -> str:
    """A text as a field of a CSV file: hidden characters are shown, and an apostrophe precedes what starts a formula.

    A single `-` and numbers are no formulas. `text_of_field` removes the apostrophe.
    """
    text = text if text.isprintable() else "".join(map(_shown, text))
    text = text.replace("##[", "\\x23#[")
    is_formula = FORMULA.match(text) is not None and text != "-" and NUMBER.fullmatch(text) is None
    return f"'{text}" if is_formula else text


def text_of_field(field: str) -> str:
    """The text that `csv_field` wrote."""
    return field[1:] if field.startswith("'") and FORMULA.match(field) else field


def _is_refused(character: str) -> bool:
    return character in BIDIRECTIONAL or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _shown(character: str) -> str:
    return _escape(character) if unicodedata.category(character) in HIDDEN else character


def _escape(character: str) -> str:
    if not character:
        return ""
    code = ord(character)
    simple = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    width = 2 if code < 0x100 else 4 if code < 0x10000 else 8
    return simple.get(character) or f"\\{'x' if width == 2 else 'u' if width == 4 else 'U'}{code:0{width}x}"
