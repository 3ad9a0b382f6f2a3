"""A drawing as PDF, written out by hand: vectors and real text in the sans-serif that every reader has. No torch here.

The same bytes for the same drawing: no date, no random identity. One CSS pixel is three quarters of a point.
Source: ISO 32000-1 (PDF 1.7), sections 7.5 (file structure), 8.5 (paths) and 9.4 (text).
"""

from __future__ import annotations

import zlib

from eyebright.drawing.scene import PAINTS, Outline, Scene, Text, rectangle

_POINT = 0.75


def write_pdf(scene: Scene, *, is_dark: bool = False) -> bytes:
    """One page of the drawing's own size."""
    page = int(is_dark)
    background = rectangle("page", 0, 0, scene.width, scene.height)
    commands = [f"{_POINT} 0 0 {-_POINT} 0 {scene.height * _POINT:.2f} cm 1 j"]
    for part in (background, *scene.flat()):
        commands.append(_outline(part, page) if isinstance(part, Outline) else _text(part, page))
    content = zlib.compress("\n".join(commands).encode("latin-1"), 9)
    box = f"[0 0 {scene.width * _POINT:.2f} {scene.height * _POINT:.2f}]"
    fonts = " ".join(
        f"/{key} << /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>"
        for key, name in (("F1", "Helvetica"), ("F2", "Helvetica-Bold"))
    )
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 4 0 R "
        f"/Resources << /Font << {fonts} >> >> >>".encode(),
        f"<< /Length {len(content)} /Filter /FlateDecode >>\nstream\n".encode() + content + b"\nendstream",
        b"<< /Title (" + _string(scene.title) + b") /Producer (Eyebright) >>",
    ]
    return _file(objects)


def _file(objects: list[bytes]) -> bytes:
    """The objects with the table of where each begins; the last one is the document's information."""
    written = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(written))
        written += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    start = len(written)
    written += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    for place in places:
        written += f"{place:010d} 00000 n \n".encode()
    trailer = (
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\nstartxref\n{start}\n%%EOF\n"
    )
    return bytes(written + trailer.encode())


def _outline(outline: Outline, page: int) -> str:
    paint = PAINTS[outline.paint]
    said = []
    if paint.fill is not None:
        said.append(f"{_colour(paint.fill[page])} rg")
    if paint.stroke is not None:
        dash = " ".join(f"{length:g}" for length in paint.dash)
        said.append(f"{_colour(paint.stroke[page])} RG {paint.width:g} w [{dash}] 0 d")
    for command, *numbers in outline.steps:
        operator = {"M": "m", "L": "l", "C": "c", "Z": "h"}[str(command)]
        said.append(" ".join([*(f"{float(number):.2f}" for number in numbers), operator]))
    said.append(
        {(True, True): "B", (True, False): "f", (False, True): "S"}[paint.fill is not None, paint.stroke is not None]
    )
    return " ".join(said)


def _text(text: Text, page: int) -> str:
    fill = PAINTS[text.paint].fill
    assert fill is not None
    font = "F2" if text.is_bold else "F1"
    # The page is upside down, as screens are; the text matrix turns letters back.
    place = f"1 0 0 -1 {text.left:.2f} {text.y:.2f} Tm"
    words = _string(text.words).decode("latin-1")
    return f"BT {_colour(fill[page])} rg /{font} {text.size:g} Tf {place} ({words}) Tj ET"


def _string(words: str) -> bytes:
    """Text between parentheses; what Western Europe's alphabet lacks becomes a question mark."""
    plain = words.encode("cp1252", errors="replace")
    return plain.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _colour(code: str) -> str:
    """ "#ff0000" -> "1 0 0"."""
    return " ".join(f"{int(code[start : start + 2], 16) / 255:.3g}" for start in (1, 3, 5))
