"""The viewer's Python: pages that hold all they need, and nothing that could run but their script."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors import ANALYZERS
from tests import viewer_reports
from tiktok_ray import viewer
from tiktok_ray.cli import app, write_page
from tiktok_ray.report import VideoReport
from tiktok_ray.reporting import schema
from tiktok_ray.reporting.reading import Report
from tiktok_ray.viewer.bundle import bundle
from tiktok_ray.viewer.hints import hints


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return viewer_reports.report()


def block(page: str, id: str) -> str:
    found = re.search(rf'<script type="[^"]*" id="{id}">(.*?)</script>', page, re.DOTALL)
    assert found, id
    return found[1]


def policy(page: str) -> dict[str, str]:
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert found
    parts = (part.strip().partition(" ") for part in found[1].split(";"))
    return {name: value for name, _, value in parts}


def test_report_in_the_page_is_the_report(report: dict[str, Any]) -> None:
    assert json.loads(block(viewer.page(report), "report")) == report


def test_hostile_strings_end_no_element_and_come_back_whole() -> None:
    report = viewer_reports.hostile()
    page = viewer.page(report)
    text = block(page, "report")
    assert not re.search("[<>&\u2028\u2029\ud800-\udfff]", text)
    assert json.loads(text)["video"]["title"] == viewer_reports.HOSTILE[0]
    assert page.count("</script>") == 4, "report, hints, lanes, and what draws them"
    title = page.split("<title>")[1].split("</title>")[0]
    assert "<" not in title
    page.encode("utf-8")


def test_policy_lets_only_the_pages_own_script_and_style_run(report: dict[str, Any]) -> None:
    page = viewer.page(report)
    for element, directive in (("script", "script-src"), ("style", "style-src")):
        content = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert policy(page)[directive] == f"'sha256-{digest}'"
    assert policy(page)["default-src"] == policy(page)["connect-src"] == "'none'"
    assert policy(viewer.index())["connect-src"] == "'self'"


@pytest.mark.parametrize("page", ["page", "index"])
def test_pages_name_no_other_host(page: str, report: dict[str, Any]) -> None:
    made = viewer.page(report) if page == "page" else viewer.index()
    assert not re.search(r'(?:src|href)="(?:https?:)?//', made)
    assert "import(" not in made
    assert "@import" not in made


def test_scripts_never_write_markup() -> None:
    for path in (viewer.HERE / "js").glob("*.js"):
        text = path.read_text("utf-8")
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, f"{path.name}: {way}"


def test_video_lies_in_the_page(tmp_path: Path, report: dict[str, Any]) -> None:
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"\x00\x00\x00\x18ftypmp42 not much of a video")
    digest = hashlib.sha256(video.read_bytes()).hexdigest()
    report = {**report, "video": {**report["video"], "sha256": digest}}
    assert base64.b64decode(block(viewer.page(report, video), "video")) == video.read_bytes()


def test_another_video_is_refused(tmp_path: Path, report: dict[str, Any]) -> None:
    video = tmp_path / "other.mp4"
    video.write_bytes(b"something else")
    with pytest.raises(ValueError, match="not the video of this report"):
        viewer.page(report, video)


def test_too_large_a_video_is_refused(
    tmp_path: Path, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"x" * 11)
    monkeypatch.setattr(viewer, "VIDEO_MAX", 10)
    with pytest.raises(ValueError, match="too large"):
        viewer.page(report, video)


def test_served_page_plays_from_its_host_only(report: dict[str, Any]) -> None:
    page = viewer.page(report, video_url="/results/ab/video")
    assert json.loads(block(page, "video-url")) == "/results/ab/video"
    assert policy(page)["media-src"] == "'self' blob:"
    assert policy(page)["connect-src"] == "'none'"


def test_every_analyzer_has_a_lane() -> None:
    lanes = re.findall(r'analyzer: "(\w+)"', (viewer.HERE / "js" / "lanes.js").read_text("utf-8"))
    assert sorted(lanes) == sorted(a.name for a in ANALYZERS)


def test_hints_say_unit_and_basis() -> None:
    made = hints()
    assert made["audio_analysis"]["integrated_lufs"]["unit"] == "LUFS"
    assert made["audio_analysis"]["tempo.bpm"]["basis"] == "measured"
    assert all(hint["basis"] for fields in made.values() for hint in fields.values())


def test_hints_say_how_far_a_field_was_off(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"audio_analysis.tempo.bpm": "2 of 100", "no_such.field": "x"}
    monkeypatch.setattr(schema, "measured_errors", lambda: known)
    hints.cache_clear()
    made = hints()
    hints.cache_clear()
    assert made["audio_analysis"]["tempo.bpm"]["error"] == "2 of 100"
    assert "error" not in made["audio_analysis"]["integrated_lufs"], "not measured: nothing is sent"


def test_vendored_code_carries_its_licence() -> None:
    for folder in (viewer.HERE / "vendor").iterdir():
        assert "MIT License" in (folder / "LICENSE").read_text("utf-8")
        assert (folder / "ORIGIN").is_file()


# --- one script out of several modules ----------------------------------------------------------


def modules(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return folder


def test_bundle_puts_modules_before_those_that_use_them(tmp_path: Path) -> None:
    modules(
        tmp_path,
        main='import { two } from "./two.js";\nimport { one } from "./one.js";\none(two);\n',
        two='import { one } from "./one.js";\nexport const two = one;\n',
        one="export function one() {}\nconst own = 1;\n",
    )
    made = bundle(tmp_path, "main")
    assert [made.index(f"const ${name} =") for name in ("one", "two", "main")] == sorted(
        made.index(f"const ${name} =") for name in ("one", "two", "main")
    )
    assert made.count("function one()") == 1
    assert "import" not in made
    assert "export" not in made
    assert "return { two };" in made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('import * as all from "./one.js";\n', "unsupported syntax"),
        ("export default 1;\n", "unsupported syntax"),
        ('import { main } from "./main.js";\n', "import each other"),
        ('const text = "</script>";\n', "close a script"),
    ],
)
def test_bundle_refuses_what_it_cannot_keep(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bundle(modules(tmp_path, main=text), "main")


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def result(tmp_path: Path, report: dict[str, Any]) -> Path:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(report), encoding="utf-8")
    return path


def test_command_writes_a_page(tmp_path: Path, result: Path) -> None:
    out = tmp_path / "pages" / "report.html"
    done = CliRunner().invoke(app, ["report", str(result), "-o", str(out)])
    assert done.exit_code == 0, done.output
    shown = json.loads(block(out.read_text("utf-8"), "report"))
    assert shown == json.loads(Report.load(result).to_json())


@pytest.mark.parametrize(
    ("result_text", "video", "message"),
    [
        (None, "other.mp4", "SHA-256"),
        (None, "missing.mp4", "cannot be read"),
        ("{}", None, "not a report"),
        ("not even JSON", None, "not a report"),
    ],
)
def test_command_refuses_in_words(
    tmp_path: Path,
    result: Path,
    result_text: str | None,
    video: str | None,
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "other.mp4").write_bytes(b"another video")
    if result_text is not None:
        result.write_text(result_text, encoding="utf-8")
    given = ["--video", str(tmp_path / video)] if video else []
    out = tmp_path / "report.html"
    done = CliRunner().invoke(app, ["report", str(result), *given, "-o", str(out)])
    assert done.exit_code == 3
    assert message in " ".join((done.output + capfd.readouterr().err).split())
    assert not out.exists()


def test_made_reports_are_reports() -> None:
    for make in (viewer_reports.report, viewer_reports.every_status, viewer_reports.hostile):
        VideoReport.model_validate(make())
    statuses = {s["status"] for s in viewer_reports.every_status()["analyzers"].values()}
    assert statuses == {"ok", "partial", "skipped", "unavailable", "failed", "timed_out"}


@pytest.mark.slow
def test_analyze_writes_a_page_with_the_video(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOK_RAY_HOME", str(tmp_path / "home"))
    out = tmp_path / "out"
    few = ["--workers", "threads", "--only", "cut_analysis"]
    done = CliRunner().invoke(app, ["analyze", str(clip), *few, "--out", str(out), "--html"])
    assert done.exit_code == 0, done.output
    [page] = out.glob("*.html")
    text = page.read_text("utf-8")
    assert json.loads(block(text, "report")) == json.loads(page.with_suffix(".json").read_text())
    assert base64.b64decode(block(text, "video")) == clip.read_bytes()


def test_a_video_too_large_for_the_page_is_left_out(
    tmp_path: Path, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"x" * 11)
    monkeypatch.setattr(viewer, "VIDEO_MAX", 10)
    made = VideoReport.model_validate(report)
    assert 'id="video"' not in write_page(made, tmp_path, video).read_text("utf-8")
