"""From a name, a run or a module to a file; and in a real browser, what the page does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from eyebright.bundle.manifest import WEIGHTS, find_bundle
from eyebright.bundle.store import describe_architecture, save_bundle
from eyebright.errors import BundleError, ImageError, ModelError, OutputError, SettingsError
from eyebright.jobs.draw import draw
from eyebright.models.catalog import build_model
from eyebright.models.published import is_starter_installed
from eyebright.preprocess import Preprocessing

NAMES = ("<b>cat</b>", "dog", "fox")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a small ResNet for grey images, whose head has three classes."""
    folder = tmp_path_factory.mktemp("runs") / "animals"
    torch.manual_seed(0)
    model = build_model("resnet18", num_classes=3, in_channels=1).eval()
    save_bundle(
        folder / "bundle",
        model,
        describe_architecture(model, "resnet18"),
        class_names=NAMES,
        preprocessing=Preprocessing(image_size=48, resize=56, mean=(0.5,), std=(0.25,)),
        provenance={},
    )
    return folder


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "a <i>b.png"
    ramp = np.linspace(0, 255, 90, dtype=np.uint8)
    Image.fromarray(np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(99)), axis=2)).save(path)
    return path


def test_every_format_is_written_and_nothing_is_overwritten(tmp_path: Path) -> None:
    begins = {".svg": b"<svg ", ".pdf": b"%PDF-1.7", ".html": b"<!doctype html>"}
    drawing = draw("VGG-16")
    for suffix, begin in begins.items():
        path = tmp_path / f"vgg{suffix}"
        assert drawing.save(path).read_bytes().startswith(begin)
        before = path.read_bytes()
        with pytest.raises(OutputError, match="exists already and nothing is ever overwritten"):
            draw("vgg16", out=path)
        assert path.read_bytes() == before
    pytest.importorskip("resvg_py")
    assert drawing.save(tmp_path / "vgg.PNG").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vgg.PNG", "vgg.html", "vgg.pdf", "vgg.svg"]


def test_a_run_is_drawn_as_it_was_trained(run: Path) -> None:
    graph = draw(run).graph
    assert graph.title == "ResNet-18 of animals"
    assert graph.inputs[0].shape == (1, 48, 48)
    assert graph.by_name["fc"].shape == (3,)
    assert graph.nodes[-1].is_added
    assert graph.nodes[-1].kind == "softmax"
    assert draw(run, size=96).graph.inputs[0].shape == (1, 96, 96)


def test_a_run_is_drawn_though_a_file_of_its_bundle_is_damaged(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / run.name)
    (find_bundle(tmp_path / run.name) / WEIGHTS).write_bytes(b"")
    assert draw(tmp_path / run.name).svg == draw(run).svg


def test_a_folder_that_is_called_like_a_network_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vgg16").mkdir()
    monkeypatch.chdir(tmp_path)
    assert draw("vgg16").graph.title == "VGG-16"


def test_any_module_is_drawn_and_gets_no_softmax_that_it_has_not() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(5, 4)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.first(a) + self.second(b)  # type: ignore[no-any-return]

    drawing = draw(Sum(), inputs=[(3,), (5,)])
    assert [node.kind for node in drawing.graph.nodes][2:] == ["fully connected", "fully connected", "addition"]
    assert drawing._repr_svg_().startswith("<svg ")
    assert "Every layer in numbers" in drawing.html
    assert draw(Sum(), inputs=[(3,), (5,)], view="table").scene.title == "Sum, a table"


def test_an_image_flows_through_the_weights_of_a_run(run: Path, photo: Path, tmp_path: Path) -> None:
    page = draw(run, image=photo, out=tmp_path / "p.html").html
    assert page == (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;cat&lt;/b&gt;" in page
    assert "a &lt;i&gt;b.png" in page
    assert "<b>cat" not in page
    assert "<i>b" not in page
    for key in ("conv1", "layer1", "layer4", "layer2.0.add", "fc"):
        assert f'<img data-for="{key}" src="data:image/png;base64,' in page
    shares = [float(text) for text in re.findall(r"<b>([\d.]+)&#160;%</b>", page)]
    assert sum(shares) == pytest.approx(100, abs=0.2)


@pytest.mark.skipif(not is_starter_installed(), reason="needs eyebright-weights")
def test_starter_weights_say_nothing_for_a_head_that_they_lack(photo: Path) -> None:
    page = draw("vgg16", image=photo).html
    assert '<img data-for="features.28"' in page
    assert '<img data-for="classifier.' not in page
    assert "without a head" in page


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"network": "resnet5"}, ModelError, 'did you mean "resnet50"'),
        ({"network": "runs/nowhere"}, BundleError, "no folder runs/nowhere"),
        ({"network": "vgg16", "view": "flow"}, SettingsError, "no shortcuts"),
        ({"network": "vgg16", "view": "volume"}, SettingsError, 'did you mean "volumes"'),
        ({"network": "vgg16", "size": 0}, SettingsError, "between 1 and 8192"),
        ({"network": "vgg16", "size": 64, "image": "x.jpg"}, SettingsError, "exclude each other"),
        ({"network": "vgg16", "unfold": True, "view": "table"}, SettingsError, "--unfold is for"),
        ({"network": "vgg16", "out": "a.bmp"}, OutputError, "a.bmp: drawings are written as .svg, .png, .pdf or .html"),
        ({"network": "vgg16", "out": "nowhere/a.svg"}, OutputError, "nowhere/a.svg can't be written"),
        ({"network": "vgg16", "image": "x.jpg", "out": "a.svg"}, SettingsError, "--out FILE.html"),
        ({"network": "vgg16", "image": "missing.jpg"}, ImageError, "missing.jpg"),
        (
            {"network": "vgg11", "image": "x.jpg"},
            ModelError,
            "vgg11 has no starter weights; give the folder of a run, or vgg16 or resnet50",
        ),
        ({"network": "vgg16", "inputs": [(3, 8, 8)]}, SettingsError, "inputs are for modules"),
        ({"network": nn.Linear(3, 2), "size": 8}, SettingsError, "part of its inputs"),
        ({"network": nn.Conv2d(3, 2, 9), "inputs": [(3, 8, 8)]}, ModelError, "comes to nothing"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_error(
    asked: dict[str, Any], error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        draw(**asked)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_picture_in_the_documentation_is_what_the_command_draws() -> None:
    written = Path(__file__).parents[2] / "docs" / "vgg16.svg"
    assert written.read_text(encoding="utf-8") == draw("vgg16").svg


def test_any_size_from_one_pixel_on_is_drawn() -> None:
    for name in ("cnn", "vgg11", "resnet18"):
        for size in (1, 33, 2048):
            assert draw(name, size=size).graph.inputs[0].shape == (3, size, size)


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    wrong: list[str] = []
    page = browser.new_page(**options)
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append("dialog"))
    page.on(
        "request", lambda request: wrong.extend([] if request.url.startswith(("file:", "data:")) else [request.url])
    )
    page.goto(path.as_uri())
    return page, wrong


@pytest.mark.browser
def test_layers_can_be_pointed_at_and_stepped_through(browser: Any, run: Path, photo: Path, tmp_path: Path) -> None:
    draw(run, image=photo, out=tmp_path / "p.html")
    page, wrong = opened(browser, tmp_path / "p.html", viewport={"width": 1300, "height": 1000})
    tabs = page.locator("#tabs button")
    assert tabs.all_inner_texts() == ["Volumes", "An image on its way", "Flow", "Every layer"]
    assert page.locator(".view:visible").count() == 1
    about = page.locator("#about")
    assert not about.is_visible()
    page.locator('#view0 .layer[data-layer="layer2"]').hover(force=True)
    assert "layer2" in about.inner_text()
    assert "2 blocks in a row" in about.inner_text()
    assert "6 x 6 x 128" in about.inner_text()
    assert about.locator("img").count() == 1
    page.wait_for_timeout(100)  # a late event of the mouse would show it again
    page.keyboard.press("Escape")
    page.wait_for_timeout(100)
    assert not about.is_visible()
    page.locator('#view0 .layer[data-layer="conv1"]').focus()
    assert "Slides 64 filters of 7x7" in about.inner_text()
    page.keyboard.press("Tab")
    assert "max_pool2d" in about.inner_text()
    tabs.nth(0).focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#flowing").is_visible()
    assert not page.locator("#view0").is_visible()
    assert wrong == []
    page.close()


@pytest.mark.browser
def test_the_drawing_grows_and_shrinks_and_fits_again(browser: Any, tmp_path: Path) -> None:
    draw("cnn", out=tmp_path / "p.html")
    page, wrong = opened(browser, tmp_path / "p.html", viewport={"width": 1300, "height": 1000})
    width = "document.querySelector('#view0 svg').getBoundingClientRect().width"
    fit = page.evaluate(width)
    page.locator('#view0 [data-zoom="1"]').click()
    assert page.evaluate(width) == pytest.approx(1.3 * fit, rel=0.01)
    page.locator("#view0 .canvas").focus()
    page.keyboard.press("-")
    assert page.evaluate(width) == pytest.approx(fit, rel=0.01)
    page.keyboard.press("+")
    page.locator('#view0 [data-zoom="0"]').click()
    assert page.evaluate(width) == fit
    assert wrong == []
    page.close()


@pytest.mark.browser
def test_a_phone_scrolls_the_drawing_and_not_the_page(browser: Any, run: Path, photo: Path, tmp_path: Path) -> None:
    draw(run, image=photo, out=tmp_path / "p.html")
    page, wrong = opened(browser, tmp_path / "p.html", viewport={"width": 390, "height": 800}, has_touch=True)
    for number in range(4):
        page.locator("#tabs button").nth(number).tap()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#tabs button").nth(0).tap()
    page.locator('#view0 .layer[data-layer="conv1"]').tap(force=True)
    assert page.locator("#about").is_visible()
    assert wrong == []
    page.close()


@pytest.mark.browser
def test_on_paper_every_view_is_there(browser: Any, tmp_path: Path) -> None:
    draw("resnet18", out=tmp_path / "p.html")
    page, wrong = opened(browser, tmp_path / "p.html")
    page.emulate_media(media="print")
    assert page.locator(".view:visible").count() == page.locator(".view").count() == 4
    assert not page.locator("#tabs").is_visible()
    assert wrong == []
    page.close()
