"""A page brings all it needs and runs nothing that it was not written with."""

from __future__ import annotations

import base64
import hashlib
import re

from eyebright.page.document import build_page


def test_a_page_without_a_script_allows_none() -> None:
    page = build_page("a <b>", "<p>words</p>")
    assert "script" not in page
    assert "default-src 'none'" in page
    assert "<title>a &lt;b&gt;</title>" in page


def test_only_the_pages_own_script_is_allowed() -> None:
    page = build_page("a", "<p>words</p>", script="let x = 1;", style=".mine { color: red }")
    allowed = re.search(r"script-src 'sha256-([^']+)'", page)
    assert allowed is not None
    assert base64.b64decode(allowed[1]) == hashlib.sha256(b"let x = 1;").digest()
    assert ".mine { color: red }</style>" in page
    assert "unsafe-inline'; base-uri" in page  # for styles only
