"""The page of a check is whole, inert and small, and holds what its script needs to write decisions."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.checking.check import KINDS
from eyebright.checking.findings import CheckReport, Decision, Finding
from eyebright.checking.render import SHOWN, render_check

HOSTILE = (
    "<script>document.title='owned'</script>",
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(2)>',
    "\u202egnp.tac\u202c\n\x1b[31m",
    '=HYPERLINK("http://127.0.0.1:9")',
    "bytes that are no text \udcff",
    "</style><link rel=stylesheet href=http://127.0.0.1:9/a.css>",
)
WRONG = next(kind.name for kind in KINDS if kind.severity == "wrong")


def noise(name: str) -> NDArray[np.uint8]:
    return np.random.default_rng(len(name)).integers(0, 255, (300, 400, 3), dtype=np.uint8)


def finding(name: str, *, kind: str = "wrong-label", label: str = "cat") -> Finding:
    proposal = (Decision(sample=name, digest="ab" * 32, action="relabel", label=label, reason=kind),)
    return Finding(kind=kind, words=f"{name} looks like {label}", samples=(name,), score=0.5, proposal=proposal)


def build_report(findings: tuple[Finding, ...], **changes: Any) -> CheckReport:
    facts: dict[str, Any] = {
        "data": "photos",
        "num_samples": 2000,
        "num_readable": 1999,
        "counts": {"cat": 1200, "dog": 800},
        "findings": findings,
        "digests": {name: "ab" * 32 for one in findings for name in one.samples},
        "notes": ("a note",),
        "seconds": 8.0,
        "images_per_second": 250.0,
    }
    return CheckReport(**(facts | changes))


def stored(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="findings">(.*?)</script>', page, flags=re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_every_kind_has_a_section_and_every_finding_its_two_buttons() -> None:
    two = Finding(
        kind=WRONG,
        words="a and b are one image",
        samples=("cat/a.jpg", "dog/b.jpg"),
        proposal=tuple(
            Decision(sample=name, digest="ab" * 32, action="exclude", reason=WRONG)
            for name in ("cat/a.jpg", "dog/b.jpg")
        ),
    )
    page = render_check(build_report((two, finding("dog/c.jpg"))), noise, next_command="eyebright train photos/")
    assert re.findall(r'<section id="([^"]+)"', page) == [WRONG, "wrong-label", "next", "measured"]
    assert page.count('value="accept" aria-pressed') == page.count('value="dismiss" aria-pressed') == 2
    assert "Leave out both" in page
    assert "Relabel as <bdi>cat</bdi>" in page
    assert page.count("data:image/jpeg;base64,") == 3
    assert "1 finding to put right" in page
    data = list(stored(page)["findings"].values())
    assert data[0]["accept"] == [
        ["cat/a.jpg", "ab" * 32, "exclude", ""],
        ["dog/b.jpg", "ab" * 32, "exclude", ""],
    ]
    assert data[1]["samples"] == [["dog/c.jpg", "ab" * 32]]


def test_a_page_without_findings_says_so_and_runs_no_script() -> None:
    page = render_check(build_report(()), noise)
    assert "Nothing wrong was found" in page
    assert "script-src" not in page
    assert "Save decisions.csv" not in page


def test_the_same_report_gives_the_same_page_and_the_same_keys() -> None:
    report = build_report((finding("a"), finding("b")))
    assert render_check(report, noise) == render_check(report, noise)
    later = build_report((finding("b"), finding("c")))
    assert set(stored(render_check(report, noise))["findings"]) & set(stored(render_check(later, noise))["findings"])


def test_hostile_names_are_text() -> None:
    report = build_report(
        tuple(finding(name, label=name) for name in HOSTILE),
        data=HOSTILE[0],
        notes=HOSTILE,
        counts=dict.fromkeys(HOSTILE, 1),
    )
    page = render_check(report, noise, command=HOSTILE[1], next_command=HOSTILE[2])
    page.encode("utf-8")  # even the name that is no text
    assert not re.findall(r"<(?:link|iframe|object|form)|<img src=x|<svg onload|\u202e|\x1b", page)
    assert page.count("<script") == page.count("</script>") == 2
    assert [one["samples"][0][0] for one in stored(page)["findings"].values()] == list(HOSTILE)


@pytest.mark.parametrize("count", [2000])
def test_the_page_stays_small_and_says_what_it_leaves_out(count: int) -> None:
    page = render_check(build_report(tuple(finding(f"cat/{i}.jpg") for i in range(count))), noise)
    assert len(page.encode()) < 3_000_000
    assert page.count("<article") == SHOWN
    assert f"The {SHOWN} worst of 2,000; check.json names all" in page


def test_an_image_that_cannot_be_shown_does_not_stop_the_page() -> None:
    assert "no preview" in render_check(build_report((finding("gone.jpg"),)), lambda name: None)


def test_of_one_image_under_two_classes_any_copy_may_be_the_one_to_keep() -> None:
    names = ("cat/a.jpg", "dog/b.jpg")
    leave = tuple(Decision(sample=name, digest="ab" * 32, action="exclude", reason="two-classes") for name in names)
    page = render_check(
        build_report((Finding(kind="two-classes", words="twice", samples=names, proposal=leave),)), noise
    )
    assert re.findall(r'value="(only\d)" aria-pressed="false">Keep only <bdi[^>]*>([^<]*)<', page) == [
        ("only0", "cat/a.jpg"),
        ("only1", "dog/b.jpg"),
    ]
    assert "only" not in "".join(re.findall(r'value="[^"]*"', render_check(build_report((finding("x"),)), noise)))


def test_what_was_decided_before_travels_with_the_page() -> None:
    earlier = [Decision(sample=name, digest="ab" * 32, action="exclude", reason="blank") for name in HOSTILE]
    page = render_check(build_report((finding("x"),)), noise, decisions=earlier)
    assert stored(page)["earlier"] == [[name, "ab" * 32, "exclude", "", "blank"] for name in HOSTILE]
