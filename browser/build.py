"""Take the files of eyebright-browser out of the npm package onnxruntime-web, once it is known to be the published one.

    npm pack onnxruntime-web@1.30.0
    python browser/build.py onnxruntime-web-1.30.0.tgz

Notices come from the installed onnxruntime, whose Python package is built from the same sources and brings them.
The same input gives the same bytes.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the published package, as `npm view onnxruntime-web@1.30.0 dist.integrity` gives it: the sha512 in base64."""
TARGET = Path(__file__).parent / "src" / "eyebright_browser"
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
NOTICES = "third-party-notices.txt"


def build(archive: Path, target: Path, notices: bytes) -> None:
    """Write the package's data files.

    Args:
        archive: the file that `npm pack` wrote.
        target: a folder that is there.
        notices: the text on what is compiled into ONNX Runtime.
    """
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode("ascii")
    if found != INTEGRITY:
        raise SystemExit(f"{archive} is not the published package: its sha512 is {found}")
    licence = (Path(__file__).parent / "LICENSES" / "MIT-onnxruntime.txt").read_bytes()
    contents = {f"{NOTICES}.gz": _compress(notices), "LICENSE.txt": licence}
    with tarfile.open(archive) as files:
        for name in (SCRIPT, WASM):
            member = files.extractfile(f"package/dist/{name}")
            assert member is not None
            content = member.read()
            contents |= {name: content} if name == SCRIPT else {f"{name}.gz": _compress(content)}
    for name, content in contents.items():
        (target / name).write_bytes(content)
        print(f"{len(content):>12,} bytes  {name}")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}
    (target / "sha256.json").write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")


def _compress(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python browser/build.py onnxruntime-web-1.30.0.tgz")
    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise SystemExit("onnxruntime is not installed: pip install onnxruntime")
    build(Path(sys.argv[1]), TARGET, (Path(spec.origin).parent / "ThirdPartyNotices.txt").read_bytes())
