"""Reads the rows of a CSV file that people and spreadsheets have edited: encoding, separator, header, blank rows.

What has one meaning is accepted, whatever the program that wrote it. Everything else is refused with its row and column, as a
spreadsheet numbers them: the header is row 1.
"""

from __future__ import annotations

import codecs
import csv
import io
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from benchmark.errors import UnknownNameError
from benchmark.plain_text import one_line, shortened

SEPARATORS = (",", ";", "\t", "|")
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""In the order in which they must be tried: that of UTF-16 is the start of that of UTF-32."""
BLANK = " \t\u00a0\ufeff"


class CsvError(ValueError):
    """A file, row or field without one meaning: `row 3, column value: '1,234' is ...`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvRow:
    """A row that is not blank."""

    number: int
    """As a spreadsheet counts: the header is row 1."""
    fields: dict[str, str]
    """Column -> text without surrounding blanks."""
    remark: str = ""
    """What is unusual about the row, for its errors."""

    def error(self, column: str, problem: str) -> CsvError:
        """An error that names the row, the column and the text in it."""
        text = one_line(shortened(self.fields.get(column, ""), 60))
        return CsvError(f"row {self.number}, column {column}: '{text}' {problem}{self.remark}")


def read_rows(data: bytes, required: Sequence[str], optional: Collection[str] = ()) -> list[CsvRow]:
    """The rows below the header. Rows that are blank or repeat the header are left out.

    Args:
        data: the file.
        required: columns that must exist.
        optional: further columns that may exist. Other columns are ignored.

    Raises:
        CsvError: the text cannot be decoded, a column is missing or occurs twice, or a row is cut off or too long.
    """
    known = dict.fromkeys((*required, *optional))
    text = _decoded(data)
    separator, text, skipped = _separator(text, known)
    rows = _cells(text, separator, skipped)
    header: list[str] = []
    read = []
    for number, cells in rows:
        names = [_column_name(cell) for cell in cells]
        if not any(cells) or (header and names[: len(header)] == header):
            continue
        if not header:
            header = _checked_header(names, required, known)
            continue
        read.append(_row(number, cells, header, known))
    if not header:
        raise CsvError("the file is empty")
    return read


def _decoded(data: bytes) -> str:
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data[:200]:
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        problem = f"byte 0x{data[error.start]:02x} is not {encoding.upper()}"
        raise CsvError(f"row {row}: {problem}; save the file as CSV with the encoding UTF-8") from None
    if "\0" in text:
        raise CsvError(f"row {text.count(chr(10), 0, text.index(chr(0))) + 1}: a NUL byte")
    return text


def _separator(text: str, known: Collection[str]) -> tuple[str, str, int]:
    """The separator, the text without a line `sep=;`, and the number of lines that were removed."""
    first, _, rest = text.partition("\n")
    if first.lower().startswith("sep=") and len(first.strip("\r")) == 5:
        return first[4], rest, 1
    header = next((line for line in text.splitlines() if line.strip(BLANK + ",;|")), "")
    names = {each: {_column_name(cell) for cell in next(csv.reader([header], delimiter=each))} for each in SEPARATORS}
    return max(SEPARATORS, key=lambda each: len(names[each] & set(known))), text, 0


def _cells(text: str, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """(row number, fields without surrounding blanks)."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    number = skipped
    try:
        for cells in reader:
            number += 1
            yield number, [cell.strip(BLANK) for cell in cells]
    except csv.Error as error:
        raise CsvError(f"row {number + 1}: {error}; check its quotes") from None


def _column_name(cell: str) -> str:
    """The name of a column, whatever its case, and with spaces or hyphens instead of underscores."""
    return cell.strip(BLANK + "'\"").casefold().replace(" ", "_").replace("-", "_")


def _checked_header(names: list[str], required: Sequence[str], known: Collection[str]) -> list[str]:
    for name in required:
        if name not in names:
            raise CsvError(f"row 1: {UnknownNameError('column', name, filter(None, names))}")
    for name in known:
        if names.count(name) > 1:
            raise CsvError(f"row 1: the column {name} occurs {names.count(name)} times")
    return names


def _row(number: int, cells: Sequence[str], header: Sequence[str], known: Collection[str]) -> CsvRow:
    lengths = f"{len(cells)} fields, the header {len(header)}"
    advice = "quote fields that hold the separator, such as numbers with a decimal comma"
    if any(cells[len(header) :]):
        raise CsvError(f"row {number} has {lengths}; {advice}")
    if len(cells) < len(header):
        raise CsvError(f"row {number} is cut off: it has {lengths}")
    # Most texts occur in many rows; each is kept once.
    fields = {name: sys.intern(cell) for name, cell in zip(header, cells, strict=False) if name in known}
    remark = f" (the row has {lengths}; {advice})" if len(cells) > len(header) else ""
    return CsvRow(number=number, fields=fields, remark=remark)
