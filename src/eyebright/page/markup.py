"""Text and numbers as HTML: everything a user named is escaped here, and nowhere else."""

from __future__ import annotations

import html

from eyebright.errors import printable


def text(value: str) -> str:
    """Any text as inert HTML on one line: markup is escaped, control and direction characters are shown escaped."""
    return html.escape(printable(value), quote=True).replace(" %", "&#160;%")


def text_block(value: str) -> str:
    """Any text as inert HTML that keeps its lines."""
    return "\n".join(map(text, value.splitlines()))


def name(value: str) -> str:
    """A name that a user chose, as inert HTML; its writing direction does not reach the words around it."""
    return f"<bdi>{text(value)}</bdi>"


def end_of_place(place: str) -> str:
    """The last two parts of a path, which are what tells one image from another; not escaped yet."""
    return "/".join(place.replace("\\", "/").split("/")[-2:])


def scroll_box(label: str, content: str) -> str:
    """Wide content that scrolls inside its own box, by keyboard too.

    Args:
        label: what it is, for screen readers; plain text.
        content: HTML.
    """
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{text(label)}">{content}</div>'


def duration(seconds: float) -> str:
    """ "0.4 s", "52 s", "3 min 08 s", "2 h 05 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(num_bytes: int) -> str:
    """ "812 kB", "97.8 MB", "1.2 GB"; decimal units."""
    if num_bytes < 999_500:
        return f"{max(1, round(num_bytes / 1e3))} kB"
    if num_bytes < 999_950_000:
        return f"{num_bytes / 1e6:.1f} MB"
    return f"{num_bytes / 1e9:.1f} GB"


def amount(count: int) -> str:
    """ "640", "12.3 thousand", "25.6 million", "15.5 billion"."""
    if count < 1000:
        return str(count)
    for unit, word in ((1e3, "thousand"), (1e6, "million"), (1e9, "billion")):
        if count < 999.95 * unit:
            return f"{count / unit:.1f} {word}"
    return f"{count / 1e12:.1f} trillion"


def rate(per_second: float) -> str:
    """Two to three digits: "0.84", "8.4", "84", "1,240"."""
    if per_second < 1:
        return f"{per_second:.2f}"
    return f"{per_second:.1f}" if per_second < 9.95 else f"{per_second:,.0f}"


def plural(count: int, noun: str) -> str:
    """ "1 image", "2,024 images"."""
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else many}"
