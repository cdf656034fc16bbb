"""Numbers as spreadsheets write them: decimal points and commas, thousands, percentages.

`0,97` and `0.97` have one meaning. `1,234` may be 1.234 or 1234: it is read as the unambiguous numbers of its file are, and
refused if they do not decide.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

Mark = Literal[".", ","]
PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:[.,]\d{3})+", re.ASCII)
"""A number that may have marks between its thousands."""
SPACED = re.compile(r"[+-]?\d{1,3}(?:[ \u00a0\u2009\u202f']\d{3})+(?=[.,]|$)", re.ASCII)
"""A whole part with spaces or apostrophes between its thousands."""


class NumberError(ValueError):
    """A text without one meaning as a number; the message follows the text in a sentence."""


def decimal_mark(texts: Iterable[str]) -> Mark | None:
    """The decimal mark that the unambiguous numbers of a file have; None if there are none, or both occur."""
    marks = {mark for text in texts if (mark := _own_mark(_bare(text))) is not None}
    return marks.pop() if len(marks) == 1 else None


def parse_number(text: str, mark: Mark | None, *, integer: bool = False, percent: bool = False) -> int | float:
    """The number that a text stands for.

    Args:
        text: without surrounding blanks.
        mark: of `decimal_mark`.
        integer: whether the number is a whole one.
        percent: whether a percentage is meant as a fraction: `97.2%` is 0.972.

    Raises:
        NumberError: the text is no number or has several meanings.
    """
    bare = _bare(text)
    is_percentage = bare.endswith("%")
    if is_percentage and not percent:
        raise NumberError("is a percentage")
    bare = bare.removesuffix("%").rstrip(" \u00a0\u202f")
    plain = _with_point(bare, mark, integer)
    if PLAIN.fullmatch(plain) is None:
        raise NumberError("is not a number")
    number = Decimal(plain).scaleb(-2) if is_percentage else Decimal(plain)
    if not math.isfinite(float(number)):
        raise NumberError("is too large")
    if integer and number != number.to_integral_value():
        raise NumberError("is not a whole number")
    return int(number) if integer else float(number)


def _bare(text: str) -> str:
    """A number without the quotes, the apostrophe or the mathematical minus that programs add."""
    return text.strip().strip('"').removeprefix("'").strip().replace("\u2212", "-")


def _own_mark(bare: str) -> Mark | None:
    """The decimal mark of a number if it has one meaning."""
    bare = bare.removesuffix("%").strip()
    if not bare[-1:].isdecimal() or not any(each.isdecimal() for each in bare):
        return None
    point, comma = bare.rfind("."), bare.rfind(",")
    if point >= 0 and comma >= 0:
        return "." if point > comma else ","
    if max(point, comma) < 0:
        return None
    if GROUPED.fullmatch(bare):
        repeated = bare.count(".") > 1 or bare.count(",") > 1
        return None if not repeated else "," if point >= 0 else "."
    return "." if point >= 0 else ","


def _with_point(bare: str, mark: Mark | None, integer: bool) -> str:
    """A number with a decimal point and without marks between thousands."""
    spaced = SPACED.match(bare)
    if spaced is not None:
        bare = re.sub(r"[ \u00a0\u2009\u202f']", "", spaced[0]) + bare[spaced.end() :]
    own = _own_mark(bare)
    if own is None and GROUPED.fullmatch(bare):
        used: Mark = "." if "." in bare else ","
        # A point in a number with decimals is how repbench writes it; every other case needs a decision by the file.
        is_decimal = not integer and used == (mark or ".")
        is_group = integer and mark is not None and used != mark
        if not (is_decimal or is_group):
            raise NumberError("has two meanings, with a decimal mark and with a mark between thousands")
        own = used if is_decimal else mark
    if own == ",":
        return _without_groups(bare, ".", ",").replace(",", ".")
    return _without_groups(bare, ",", ".") if own == "." else bare


def _without_groups(bare: str, group: str, mark: str) -> str:
    """A number without the marks between its thousands; unchanged if they are not between thousands."""
    whole, _, rest = bare.partition(mark)
    if group in whole and GROUPED.fullmatch(whole):
        whole = whole.replace(group, "")
    return f"{whole}{mark}{rest}" if mark in bare else whole
