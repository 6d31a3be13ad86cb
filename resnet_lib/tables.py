"""Small tables of text, for a terminal and for a notebook."""

from collections.abc import Sequence
from html import escape

MOST = 50  # rows that are shown


def text(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Return rows as lines of columns, `MOST` of them at most, and how many there are more.

    What is no printable text, as a name of a file may be, is written with backslashes.
    """
    shown = [
        [_printable(cell) for cell in row] for row in [*([head] if head else []), *rows[:MOST]]
    ]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]
    return "\n".join([*lines, *_more(rows)])


def html(rows: Sequence[Sequence[str]], head: Sequence[str] = (), title: str = "") -> str:
    """Return the same as a table of HTML, under a title."""
    parts = [f"<caption>{_cell(title)}</caption>"] if title else []
    if head:
        parts.append(_row(head, "th"))
    parts += [_row(row, "td") for row in rows[:MOST]]
    return f"<table>{''.join(parts)}</table>{''.join(map(escape, _more(rows)))}"


def _row(cells, kind):
    style = ' style="text-align:left"'
    return f"<tr>{''.join(f'<{kind}{style}>{_cell(cell)}</{kind}>' for cell in cells)}</tr>"


def _cell(text):
    return escape(_printable(text))


def _more(rows):
    return [f"… and {len(rows) - MOST:,} more"] if len(rows) > MOST else []


def _printable(text):
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
    return shown.encode(errors="backslashreplace").decode()
