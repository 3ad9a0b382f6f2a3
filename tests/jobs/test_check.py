"""A check finds what was planted, changes nothing, and its page writes the file that training takes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eyebright.errors import DataError, OutputError, WeightsError
from eyebright.jobs import runs
from eyebright.jobs.check import Check, check
from eyebright.jobs.compare import compare
from eyebright.jobs.evaluate import evaluate
from eyebright.jobs.train import train
from eyebright.progress import SilentProgress

QUICK = ["training.epochs=1", "network.width=small"]


@pytest.fixture(scope="module")
def faulty(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blue, green and red photos: one of the reds is labelled green, one can't be read, one is there twice."""
    root = tmp_path_factory.mktemp("faulty") / "colours"
    shutil.copytree(photos, root)
    (root / "red" / "15.png").rename(root / "green" / "wrong.png")
    (root / "blue" / "broken.png").write_bytes((root / "blue" / "03.png").read_bytes()[:200])
    shutil.copy(root / "blue" / "04.png", root / "blue" / "=again.png")
    return root


@pytest.fixture(scope="module")
def checked(faulty: Path, tmp_path_factory: pytest.TempPathFactory) -> Check:
    pytest.importorskip("eyebright_weights")
    before = contents(faulty)
    result = check(faulty, out=tmp_path_factory.mktemp("checks") / "colours", next_command="eyebright train colours/")
    assert contents(faulty) == before  # no source file is touched
    return result


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Listening(SilentProgress):
    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def save_decisions(page: Any, file: Path) -> Path:
    """Press the page's button, and close it."""
    with page.expect_download() as download:
        page.locator("#save").click()
    download.value.save_as(file)
    page.close()
    return file


def about(result: Check, name: str) -> list[str]:
    """The kinds of the findings about a sample."""
    return [finding.kind for finding in result.report.findings if name in finding.samples]


def test_what_was_planted_is_found(checked: Check) -> None:
    assert checked.report.num_samples == 50
    assert checked.report.num_readable == 49
    assert about(checked, "blue/broken.png")
    assert about(checked, "blue/=again.png")
    assert about(checked, "green/wrong.png") == ["wrong-label"]
    wrong = [finding for finding in checked.report.findings if finding.kind == "wrong-label"]
    assert wrong[0].proposal[0].label == "red"
    assert "green/wrong.png is labelled green and looks like red (" in wrong[0].words


def test_the_folder_holds_the_page_and_the_same_as_data(checked: Check) -> None:
    assert sorted(path.name for path in checked.folder.iterdir()) == ["check.html", "check.json"]
    plain = json.loads((checked.folder / "check.json").read_text())
    assert [finding["kind"] for finding in plain["findings"]] == [f.kind for f in checked.report.findings]
    order = [("wrong", "doubtful", "remark").index(plain["kinds"][f["kind"]]["severity"]) for f in plain["findings"]]
    assert order == sorted(order)
    assert plain["num_samples"] == 50
    assert "eyebright train colours/" in checked.page.read_text()


def test_what_was_decided_is_not_reported_again(checked: Check, faulty: Path, tmp_path: Path) -> None:
    digests = contents(faulty)
    lines = [
        "sample,digest,action,label,reason",
        f"green/wrong.png,{digests['green/wrong.png']},keep,,wrong-label",
        f"blue/broken.png,{digests['blue/broken.png']},exclude,,unreadable",
    ]
    file = tmp_path / "decisions.csv"
    file.write_text("\n".join(lines))
    again = check(faulty, out=tmp_path / "again", decisions=file)
    assert about(again, "green/wrong.png") == []
    assert about(again, "blue/broken.png") == []
    assert about(again, "blue/=again.png") == about(checked, "blue/=again.png")
    assert again.report.num_samples == 49


@pytest.mark.parametrize("lacking", ["torch", "weights"])
def test_without_torch_or_weights_the_rest_is_still_found_and_the_gap_is_said(
    faulty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    if lacking == "torch":
        for name in [name for name in sys.modules if name.startswith(("eyebright.embedding", "eyebright.models"))]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "torch", None)
    else:

        def absent(*arguments: object, **options: object) -> None:
            raise WeightsError("there are no starter weights; install them with: pip install ./weights")

        monkeypatch.setattr("eyebright.models.weights.load_pretrained", absent)
    result = check(faulty, out=tmp_path / "c")
    assert about(result, "blue/broken.png")
    assert about(result, "green/wrong.png") == []
    [note] = [note for note in result.report.notes if "wrong labels were not looked for" in note]
    assert "pip install" in note
    assert "wrong labels were not looked for" in result.page.read_text()


class Stopped(SilentProgress):
    """A progress whose user wants to stop at once."""

    stop_requested = True


def test_a_stop_leaves_nothing_behind(faulty: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        check(faulty, out=tmp_path / "c", progress=Stopped())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_not_written_into(faulty: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputError, match="exists already"):
        check(faulty, out=tmp_path, wrong_labels=False)


@pytest.fixture
def decided(faulty: Path, tmp_path: Path) -> Path:
    file = tmp_path / "decisions.csv"
    file.write_text("sample,action,label\nblue/broken.png,exclude,\n'=gone.png,keep,\ngreen/wrong.png,relabel,red\n")
    return file


def test_a_run_keeps_what_was_decided_and_can_be_repeated_from_it(faulty: Path, decided: Path, tmp_path: Path) -> None:
    first = train(faulty, model="cnn", out=tmp_path / "1", overrides=QUICK, decisions=decided)
    records = {record.name: record for record in runs.read_sample_records(first.folder / runs.SAMPLES)}
    assert "blue/broken.png" not in records
    assert records["green/wrong.png"].labels == ("red",)
    provenance = first.predictor.manifest.provenance["data"]["decided"]
    assert provenance == {"decisions": 3, "excluded": 1, "relabelled": 1, "not_applied": 1}
    notes = json.loads((first.folder / "report.json").read_text())["notes"]
    assert "1 image left out as decided: blue/broken.png" in notes
    again = train(faulty, model="cnn", out=tmp_path / "2", overrides=QUICK, decisions=first.folder / "decisions.csv")
    weights = [run.folder / "bundle" / "weights.safetensors" for run in (first, again)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_comparison_and_an_evaluation_take_decisions_too(faulty: Path, decided: Path, tmp_path: Path) -> None:
    compared = compare(faulty, models=["cnn"], out=tmp_path / "c", overrides=QUICK, decisions=decided)
    kept = {record.name for record in runs.read_sample_records(compared.folder / "cnn" / runs.SAMPLES)}
    assert "blue/broken.png" not in kept
    assert len(kept) == 49
    single = tmp_path / "new" / "green"
    single.mkdir(parents=True)
    for number in range(4):
        data = (faulty / "red" / f"{number:02}.png").read_bytes()
        (single / f"{number}.png").write_bytes(data + bytes([number]))  # the same picture, but not the same content
    file = tmp_path / "new.csv"
    file.write_text("sample,action,label\ngreen/0.png,exclude,\ngreen/1.png,relabel,red\n")
    report = evaluate(compared.folder / "cnn", tmp_path / "new", decisions=file)
    support = {result.name: result.support for result in report.per_class}
    assert support == {"blue": 0, "green": 2, "red": 1}


def test_a_decision_for_a_class_that_is_not_there_names_the_nearest(faulty: Path, tmp_path: Path) -> None:
    file = tmp_path / "decisions.csv"
    file.write_text("sample,action,label\ngreen/wrong.png,relabel,redd\n")
    with pytest.raises(DataError, match='line 2 has the label "redd", which no image has; did you mean "red"'):
        train(faulty, model="cnn", out=tmp_path / "r", decisions=file)
    assert not (tmp_path / "r").exists()


@pytest.mark.browser
def test_findings_accepted_in_a_browser_are_saved_and_trained_with(
    checked: Check, faulty: Path, browser: Any, tmp_path: Path
) -> None:
    seen: list[str] = []
    page = browser.new_page(accept_downloads=True)
    page.on("request", lambda request: seen.append(request.url))
    page.on("console", lambda message: seen.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.goto(checked.page.as_uri())
    assert page.locator("#save").is_disabled()
    broken = page.locator(".finding", has_text="broken.png").first
    broken.get_by_role("button", name="Leave it out").click()
    wrong = page.locator("#wrong-label .finding", has_text="green/wrong.png")
    wrong.get_by_role("button", name="Relabel as red").focus()
    page.keyboard.press("a")
    twice = page.locator(".finding", has_text="=again.png").first
    twice.get_by_role("button", name="Keep all").click()
    page.reload()
    assert page.locator("#state").inner_text().startswith("2 accepted, 1 dismissed, ")
    file = save_decisions(page, tmp_path / "decisions.csv")
    assert {url for url in seen if not url.startswith(("data:", "blob:"))} == {checked.page.as_uri()}

    lines = file.read_text().splitlines()
    digests = contents(faulty)
    assert lines[0] == "sample,digest,action,label,reason"
    assert f"green/wrong.png,{digests['green/wrong.png']},relabel,red,wrong-label" in lines
    run = train(faulty, model="cnn", out=tmp_path / "run", overrides=QUICK, decisions=file)
    records = {record.name: record.labels[0] for record in runs.read_sample_records(run.folder / runs.SAMPLES)}
    assert "blue/broken.png" not in records
    assert records["green/wrong.png"] == "red"
    assert records["blue/=again.png"] == "blue"
    assert len(records) == 49


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_every_width(checked: Check, browser: Any, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(checked.page.as_uri())
    for width in (320, 400, 800, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"overflows by {wide} pixels at {width}"
    page.close()


@pytest.mark.browser
def test_all_of_a_kind_are_accepted_and_reopened_at_once_and_by_keys(checked: Check, browser: Any) -> None:
    page = browser.new_page()
    page.goto(checked.page.as_uri())
    able = page.locator(".finding").count()
    page.keyboard.press("j")
    page.keyboard.press("d")
    assert page.locator("#state").inner_text() == f"0 accepted, 1 dismissed, {able - 1} open"
    page.keyboard.press("d")
    for value, words in (("dismiss", f"0 accepted, {able} dismissed, 0 open"), ("reopen", None)):
        for button in page.locator(f".all button[value={value}]").all():
            button.click()
        for alone in page.locator("section:not(:has(.all)) .finding button[value=dismiss]").all():
            alone.click()
        assert page.locator("#state").inner_text() == (words or f"0 accepted, 0 dismissed, {able} open")
    page.close()


def draw_odd_folder(root: Path) -> None:
    """What people have: blank, dark, tiny and long images, other suffixes and modes, empty files, pipes, links."""
    random = np.random.default_rng(0)

    def save(name: str, size: tuple[int, int] = (90, 70), low: int = 20, high: int = 230) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(low, high, (size[1], size[0], 3), dtype=np.uint8)).save(path)
        return path

    for name in ("one", "<b>two</b>", "=three"):
        for number in range(12):
            save(f"{name}/{number:02}.png")
    save("one/dark.png", low=0, high=12)
    save("one/bright.png", low=244, high=255)
    save("one/tiny.png", (2, 2))
    save("one/pixel.png", (1, 1))
    save("one/long.png", (1500, 20))
    for number, mode in enumerate(("1", "L", "P", "RGBA", "I;16")):
        with Image.open(save(f"=three/mode{number}.png")) as image:
            grey = image.convert("L")
            other = (
                grey.point(lambda value: value * 256, "I").convert("I;16") if mode == "I;16" else image.convert(mode)
            )
        other.save(root / "=three" / f"mode{number}.png")
    Image.new("RGB", (90, 70), (120, 90, 30)).save(root / "one" / "blank.png")
    Image.new("RGB", (90, 70), (120, 90, 30)).save(root / "=three" / "blank-too.png")
    save("=three/really.jpg").rename(root / "=three" / "not-really.webp")
    (root / "one" / "empty.jpg").write_bytes(b"")
    (root / "one" / "text.jpg").write_text("hello")
    (root / "one" / "nowhere.jpg").symlink_to("absent.jpg")
    (root / "one" / "notes.txt").write_text("no image")
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "one" / "pipe.jpg")


def test_a_folder_of_everything_odd_is_checked_to_the_end_and_its_findings_are_json(tmp_path: Path) -> None:
    draw_odd_folder(tmp_path / "odd")
    result = check(tmp_path / "odd", out=tmp_path / "out", wrong_labels=False)
    told = json.loads((tmp_path / "out" / "check.json").read_text())
    assert len(told["findings"]) == len(result.report.findings)
    found = {finding["kind"] for finding in told["findings"]}
    assert {
        "blank",
        "dark",
        "bright",
        "tiny",
        "extreme-shape",
        "unreadable",
        "empty-file",
        "wrong-suffix",
        "odd-mode",
    } <= found
    assert "<b>two</b>" not in (tmp_path / "out" / "check.html").read_text()


def test_several_labels_an_image_are_all_looked_at(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(photos, folder)
    shutil.copy(folder / "blue" / "00.png", folder / "same.png")
    shutil.copy(folder / "blue" / "01.png", folder / "other.png")
    rows = [f"{path.relative_to(folder)},{path.parent.name}|round" for path in sorted(folder.rglob("*/*.png"))]
    rows += ["same.png,round|blue", "other.png,green|round", "gone.png,blue"]
    (folder / "list.csv").write_text("\n".join(["path,labels", *rows]) + "\n")
    report = check(folder / "list.csv", out=tmp_path / "check").report
    assert {found.samples for found in report.findings if found.kind == "duplicate"} == {("blue/00.png", "same.png")}
    (two,) = (found for found in report.findings if found.kind == "two-classes")
    assert two.samples == ("blue/01.png", "other.png")
    assert "under blue and round, green and round" in two.words
    assert "gone.png" in {name for found in report.findings if found.kind == "unreadable" for name in found.samples}
    assert "wrong-label" not in {found.kind for found in report.findings}
    assert "wrong labels were not looked for: that takes images of one label each" in report.notes
    assert 'Class "round" has 50 readable images' in " ".join(found.words for found in report.findings)


def test_a_file_that_could_not_be_fetched_is_kept_by_its_name_alone(faulty: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(faulty, folder)
    for name in ("one.png", "two.png"):
        (folder / "red" / name).symlink_to(tmp_path / "nowhere")
    file = tmp_path / "decisions.csv"
    file.write_text("sample,action,reason\nred/one.png,keep,unreadable\n")
    found = check(folder, out=tmp_path / "check", wrong_labels=False, decisions=file)
    assert about(found, "red/one.png") == []
    assert about(found, "red/two.png") == ["unreadable"]


@pytest.mark.browser
def test_a_second_round_of_decisions_holds_the_first_as_well(
    checked: Check, faulty: Path, browser: Any, tmp_path: Path
) -> None:
    first = tmp_path / "first.csv"
    digests = contents(faulty)
    first.write_text(
        "sample,digest,action,label,reason\n"
        f"blue/broken.png,{digests['blue/broken.png']},exclude,,truncated\n"
        f"green/wrong.png,{digests['green/wrong.png']},relabel,blue,wrong-label\n"
    )
    shutil.copy(faulty / "red" / "01.png", faulty / "green" / "twice.png")
    try:
        again = check(faulty, out=tmp_path / "again", decisions=first)
    finally:
        (faulty / "green" / "twice.png").unlink()
    page = browser.new_page(accept_downloads=True)
    page.goto(again.page.as_uri())
    assert page.locator("#state").inner_text().endswith(", and 2 decided before")
    two = page.locator("#two-classes .finding", has_text="twice.png")
    two.get_by_role("button", name="Keep only red/01.png").click()
    page.reload()
    assert page.locator("#state").inner_text().startswith("1 accepted, ")
    file = save_decisions(page, tmp_path / "decisions.csv")
    lines = [line.split(",") for line in file.read_text().splitlines()[1:]]
    assert {(line[0], line[2]) for line in lines} == {
        ("blue/broken.png", "exclude"),
        ("green/twice.png", "exclude"),
        ("green/wrong.png", "relabel"),
        ("red/01.png", "keep"),
    }


def test_training_says_which_files_stand_in_two_splits(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for split in ("train", "val", "test"):
        shutil.copytree(photos, folder / split)
    progress = Listening()
    train(folder, model="cnn", out=tmp_path / "run", overrides=QUICK, progress=progress)
    (warning,) = (text for text in progress.warnings if "more than one of the data's splits" in text)
    assert warning.startswith("48 images stand in more than one of the data's splits, as equal files: test/blue/00.png")
