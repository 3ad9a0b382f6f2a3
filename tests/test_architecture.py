"""The house stands as docs/house.md draws it: floors, empty entrances, no torch where none is needed."""

from __future__ import annotations

import ast
import fnmatch
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "eyebright"
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in FILES]
MODULES = sorted(name.removesuffix(".__init__") for name in NAMES)

FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "core", "base"}
# The rooms marked `n` in docs/house.md.
WITHOUT_TORCH = (
    "eyebright",
    "eyebright.errors",
    "eyebright.progress",
    "eyebright.preprocess",
    "eyebright.metrics",
    "eyebright.settings",
    "eyebright.calibration",
    "eyebright.calibration.*",
    "eyebright.processor",
    "eyebright.writing",
    "eyebright.locking",
    "eyebright.page",
    "eyebright.page.*",
    "eyebright.data",
    "eyebright.data.*",
    "eyebright.models",
    "eyebright.models.published",
    "eyebright.models.download",
    "eyebright.bundle",
    "eyebright.bundle.manifest",
    "eyebright.bundle.engines",
    "eyebright.bulk",
    "eyebright.bulk.*",
    "eyebright.exporting.quantize",
    "eyebright.exporting.verify",
    "eyebright.exporting.web",
    "eyebright.exporting.web_runtime",
    "eyebright.bundle.calibrated",
    "eyebright.inference",
    "eyebright.inference.engine",
    "eyebright.inference.onnx_engine",
    "eyebright.inference.predictor",
    "eyebright.inference.load",
    "eyebright.evaluation",
    "eyebright.evaluation.*",
    "eyebright.checking",
    "eyebright.checking.*",
    "eyebright.drawing",
    "eyebright.drawing.*",
    "eyebright.speed",
    "eyebright.speed.rounds",
    "eyebright.speed.products",
    "eyebright.speed.pictures",
    "eyebright.speed.alone",
    "eyebright.speed.costs",
    "eyebright.speed.measure",
    "eyebright.speed.report",
    "eyebright.lessons",
    "eyebright.lessons.*",
    "eyebright.jobs.check",
    "eyebright.jobs.evaluate",
    "eyebright.jobs.predict",
    "eyebright.cli",
    "eyebright.cli.*",
)
WITH_TORCH = (  # beside rooms that go without
    "eyebright.data.augment",
    "eyebright.data.mixing",
    "eyebright.data.sending",
    "eyebright.data.loader",
    "eyebright.drawing.trace",
    "eyebright.drawing.recorder",
    "eyebright.drawing.shortcuts",
    "eyebright.lessons.compute",
)
# `import NAME` and `from NAME import ...` of these may run a file's code when reading it.
UNSAFE_READERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def read(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_names(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_imports_point_down_as_the_contracts_say() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("needs import-linter's command beside this Python")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_do_not_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph("eyebright", exclude_type_checking_imports=True, cache_dir=None)
    waiting = {name: set(graph.find_modules_directly_imported_by(name)) & graph.modules for name in graph.modules}
    while free := [name for name, needs in waiting.items() if not needs]:
        for name in free:
            del waiting[name]
        for needs in waiting.values():
            needs.difference_update(free)
    assert not waiting, f"in a circle, or above one: {sorted(waiting)}"


def test_only_the_top_of_the_package_has_anything_in_its_entrance() -> None:
    full = [path for path in SOURCE.rglob("__init__.py") if path.read_text(encoding="utf-8").strip()]
    assert [path for path in full if path.parent != SOURCE] == []


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    parts = {part for path in FILES for part in path.relative_to(SOURCE).with_suffix("").parts}
    assert not parts & FORBIDDEN_NAMES


def test_no_function_has_a_name_that_says_nothing() -> None:
    vague = ("get_", "make_", "do_", "process_", "handle_")
    found = [
        f"{path.relative_to(SOURCE)}: {node.name}"
        for path in FILES
        for node in ast.walk(read(path))
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
        if node.name.lower().lstrip("_").startswith(vague) or node.name.endswith(("Manager", "Helper"))
    ]
    assert found == []


def test_only_the_output_room_prints() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in FILES
        if path != SOURCE / "cli" / "output.py"
        for node in ast.walk(read(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []


def test_nothing_is_unpickled() -> None:
    assert [path for path in FILES if imported_names(read(path)) & UNSAFE_READERS] == []


def test_torch_load_only_ever_reads_weights() -> None:
    for path in FILES:
        for node in ast.walk(read(path)):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ("torch.load", "np.load", "numpy.load"):
                continue
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            if ast.unparse(node.func) == "torch.load":
                assert options.get("weights_only") == "True", f"{path}:{node.lineno}"
            else:
                assert options.get("allow_pickle", "False") == "False", f"{path}:{node.lineno}"


def test_importing_the_package_loads_no_torch() -> None:
    done = python("import sys, eyebright; sys.exit(bool({'torch', 'matplotlib'} & set(sys.modules)))")
    assert done.returncode == 0, done.stderr


def test_rooms_that_need_no_torch_open_where_there_is_none() -> None:
    wanted = [
        name
        for name in MODULES
        if name not in WITH_TORCH and any(fnmatch.fnmatchcase(name, pattern) for pattern in WITHOUT_TORCH)
    ]
    assert len(wanted) > 8
    done = python(
        "import importlib, sys\n"
        "for name in ('torch', 'matplotlib', 'sklearn'):\n"
        "    sys.modules[name] = None  # makes every import of it fail\n"
        f"for name in {wanted!r}:\n"
        "    importlib.import_module(name)\n"
    )
    assert done.returncode == 0, done.stderr


def test_every_module_says_what_it_is() -> None:
    silent = [path for path in FILES if path.name != "__init__.py" and ast.get_docstring(read(path)) is None]
    assert silent == []


def test_every_module_can_be_imported_alone_without_side_effects_on_the_screen() -> None:
    there = find_spec("openvino") is not None
    wanted = [name for name in MODULES if name != "eyebright.__main__" and (there or "openvino" not in name)]
    done = python(f"import importlib\nfor name in {wanted!r}:\n    importlib.import_module(name)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
