"""A page that is one file: its head, its style, and a policy that forbids the browser to load anything.

Even a name that slipped through the escaping could fetch nothing and run nothing: the only script that may run is the
one that the page was written with, named by its sha256.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from eyebright.page import markup

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def build_page(title: str, body: str, *, style: str = "", script: str = "", starts: str = "") -> str:
    """A whole HTML file, to be written as UTF-8.

    Args:
        title: as text, for the browser's tab.
        body: HTML, everything a user named already escaped.
        style: CSS beyond what all pages share.
        script: JavaScript, run at the end of the page; never anything a user named.
        starts: what the script may start beside itself, as sources of a policy: "blob:", "'wasm-unsafe-eval'".
    """
    shared = resources.files("eyebright.page").joinpath("page.css").read_text(encoding="utf-8")
    policy, running = _POLICY, ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        policy += f"; script-src 'sha256-{digest}'" + (f" {starts}; worker-src blob:" if starts else "")
        running = f"<script>{script}</script>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{markup.text(title)}</title><style>{shared}{style}</style></head>\n<body>{body}"
        "<footer>Made by Eyebright. This file needs no network and can be passed on as it is.</footer>"
        f"{running}</body></html>\n"
    )
