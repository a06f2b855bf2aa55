"""First imports of libraries, and what they need not bring along."""

import subprocess
import sys

import pytest

from tiktok_ray import first_imports


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A package that imports another, for drawings that nobody makes."""
    (tmp_path / "a_library.py").write_text("import a_toolkit.drawing as drawing\n")
    (tmp_path / "a_toolkit").mkdir()
    (tmp_path / "a_toolkit/__init__.py").write_text("")
    (tmp_path / "a_toolkit/drawing.py").write_text("pen = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    unused = {"a_library": ("a_toolkit", "a_toolkit.drawing")}
    monkeypatch.setattr(first_imports, "UNUSED", unused)
    yield
    for name in ("a_library", "a_toolkit", "a_toolkit.drawing"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("library")
def test_what_a_library_imports_for_nothing_is_left_out_and_there_for_others():
    first_imports.import_first(["a_library"])
    assert not hasattr(sys.modules["a_library"].drawing, "pen")
    from a_toolkit import drawing  # type: ignore[import-not-found]

    assert drawing.pen == 1


@pytest.mark.usefixtures("library")
def test_what_is_already_there_stays():
    import a_toolkit.drawing  # type: ignore[import-not-found]

    first_imports.import_first(["a_library"])
    assert sys.modules["a_library"].drawing is a_toolkit.drawing
    assert sys.modules["a_toolkit.drawing"].pen == 1


@pytest.mark.usefixtures("library")
def test_what_is_touched_late_is_loaded_then_and_whole(monkeypatch):
    monkeypatch.setattr(first_imports, "UNUSED", {})
    monkeypatch.setattr(first_imports, "LATER", {"a_toolkit.drawing"})
    first_imports.import_first(["a_library"])
    drawing = sys.modules["a_toolkit.drawing"]
    assert "pen" not in object.__getattribute__(drawing, "__dict__")
    assert sys.modules["a_library"].drawing is drawing
    assert drawing.pen == 1


@pytest.mark.slow
def test_libraries_bring_nothing_along_that_nobody_touches():
    script = (
        "import sys; from tiktok_ray.first_imports import LATER, import_first\n"
        "import_first(['skimage.color.colorconv', 'insightface.model_zoo', 'mediapipe'])\n"
        "loaded = {n for n in LATER if type(sys.modules.get(n)) is type(sys)}\n"
        "assert not loaded, loaded\n"
        "from insightface.app import FaceAnalysis\n"
        "import numpy; numpy.testing.assert_equal(FaceAnalysis.__name__, 'FaceAnalysis')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
