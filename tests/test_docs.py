"""What the documents name exists: commands, flags, settings, endpoints, files, units."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import typer.core
from starlette.routing import Match

from tiktok_ray.cli import app
from tiktok_ray.compose import make_graph
from tiktok_ray.ops import systemd
from tiktok_ray.run import placement
from tiktok_ray.serve.api import create_app
from tiktok_ray.settings import Settings

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(p for p in sorted((ROOT / "docs").glob("**/*.md")) if not p.name.startswith("_")),
]
#: Variables of the environment that are not settings, and where each is read.
VARIABLES = {
    "TIKTOK_RAY_EXTRA": "deploy/run",
    "TIKTOK_RAY_VENV": "deploy/run",
    "TIKTOK_RAY_TEST_MEDIA": "tests/conftest.py",
    "TIKTOK_RAY_FACTORY": "benchmarks/factory/__init__.py",
}
SHELLS = ("sh", "bash", "console", "shell")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
ENDPOINT = re.compile(r"\b(GET|POST|DELETE|PUT|HEAD) (/[^\s`,;:)]*)")
ADDRESS = re.compile(r"https?://(?:127\.0\.0\.1|localhost):80\d\d(/[^\s`'\"|>)]*)?")
VARIABLE = re.compile(r"\bTIKTOK_RAY_[A-Z0-9_]*[A-Z0-9]")
PLACE = re.compile(
    r"(?<![\w/~.-])(?:tiktok_ray|actors|deploy|docs|benchmarks|tests)/[\w./-]*\w|serve_app\.py"
)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
UNIT = re.compile(r"\btiktok-ray[\w-]*\.(?:service|timer)\b")


def settings_table():
    """The table of all settings, as docs/deployment.md has it."""
    rows = ["| variable | default | description |", "|---|---|---|"]
    special = {
        "models": "`~/.cache/tiktok_ray/models`",
        "home": "`~/.local/share/tiktok_ray`",
        "cores": "all",
    }
    for name, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        for key, one in inner.items() if inner else [("", field)]:
            variable = f"TIKTOK_RAY_{name.upper()}" + (f"__{key.upper()}" if key else "")
            plain = one.default if one.default_factory is None else "{}"
            told = "" if plain is None else f"`{plain}`"
            rows.append(f"| `{variable}` | {special.get(name, told)} | {one.description} |")
    return "\n".join(rows)


MACHINES = {
    "no GPU": (),
    "4 GiB": (4,),
    "8 GiB": (8,),
    "12 GiB": (12,),
    "16 GiB": (16,),
    "24 GiB": (24,),
    "80 GiB": (80,),
    "2 × 16 GiB": (16, 16),
}


def plan_table():
    """Where each analyzer that may use a card runs, by machine; the others are on the CPU always."""
    graph = make_graph()
    plans = {
        name: placement.plan(
            graph.analyzers.values(),
            Settings(),
            cards=[placement.Card(k, float(size)) for k, size in enumerate(sizes)],
            assume_weights=True,
        )
        for name, sizes in MACHINES.items()
    }

    def cell(plan, analyzer):
        place = plan.assignments[analyzer]
        where = "CPU" if place.card is None else f"{place.vram_gib:.2f}"
        card = f" on {place.card}" if len(plan.cards) > 1 and place.card is not None else ""
        return f"{place.variant.name}: {where}{card}"

    rows = [["analyzer", *plans], ["---"] * (len(plans) + 1)]
    placed = [
        name
        for name in graph.order
        if any(p.assignments[name].card is not None for p in plans.values())
    ]
    rows += [[f"`{name}`", *(cell(p, name) for p in plans.values())] for name in placed]
    sums = [
        " + ".join(f"{p.used_gib(c.index):.2f} of {c.usable_gib:g}" for c in p.cards) or "none"
        for p in plans.values()
    ]
    rows.append(["planned of usable", *sums])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def test_the_plans_of_the_docs_are_the_planners():
    assert plan_table() in (ROOT / "docs" / "placement.md").read_text()


def test_deployment_lists_all_settings():
    text = (ROOT / "docs" / "deployment.md").read_text()
    assert [row for row in settings_table().splitlines() if row not in text] == []


def shell_lines(text):
    """Lines of shell blocks, continued ones joined; of consoles what follows the prompt."""
    for language, body in FENCE.findall(text):
        if not language:
            yield from (line for line in body.splitlines() if line.startswith("tiktok-ray "))
        elif language in SHELLS:
            for line in body.replace("\\\n", " ").splitlines():
                prompt = line.startswith("$ ")
                if language != "console" or prompt:
                    yield line[2:] if prompt else line


def calls(text):
    """Every call of the command line in a document, as words."""
    inline = [
        code for code in INLINE.findall(FENCE.sub("", text)) if code.startswith("tiktok-ray ")
    ]
    for line in [*shell_lines(text), *inline]:
        for part in re.split(r"\|\||&&|[|;]|\$\(|\)|(?<!\w)&(?!\w)", re.sub(r"\s#.*", "", line)):
            words = shlex.split(part.replace("[", " ").replace("]", " ").replace("…", " "))
            while words and (re.fullmatch(r"\w+=.*", words[0]) or words[0] in ("sudo", "nice")):
                words = words[1:]
            if words[:1] == ["deploy/run"]:
                words = words[1:]
            if words and words[0].rpartition("/")[2] == "tiktok-ray":
                yield words[1:]


def options(command):
    return {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)} | {"--help"}


def default_of(command):
    """The command that a group runs when its first word is none (``batch``), or None."""
    plain = typer.core.TyperGroup.parse_args
    return "run" if type(command).parse_args is not plain and "run" in command.commands else None


def complaint(words):
    """What is wrong with a call; None when it fits the commands and flags that there are."""
    command, path = typer.main.get_command(app), []
    words = [w for w in words if w != "…"]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands and default_of(command):
            words.insert(0, default_of(command))
        name = words.pop(0)
        if "|" in name:
            lost = [one for one in name.split("|") if one not in command.commands]
            return f"no command {lost}" if lost else None
        if name not in command.commands:
            return f"no command {' '.join([*path, name])}"
        command = command.commands[name]
        path.append(name)
    for word in words:
        flag = word.partition("=")[0]
        if re.fullmatch(r"--?[a-zA-Z][\w-]*", flag) and flag not in options(command):
            return f"{' '.join(path)} has no {flag}"
    return None


def routes():
    def never():
        raise AssertionError("no service is wanted here")

    return create_app(never).routes


def answered(method, path):
    """Whether some route answers that method and path."""
    path = re.sub(r"\?.*", "", path).replace("$id", "0").replace("…", "0") or "/"
    path = re.sub(r"\{[^}]*\}|\$\{?\w+\}?|<[^>]*>", "0", path)
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    return any(route.matches(scope)[0] is Match.FULL for route in routes())


def setting_there(name):
    """Whether a variable is a setting, nested by two underscores."""
    model = Settings
    for part in name.removeprefix("TIKTOK_RAY_").lower().split("__"):
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return False
        model = fields[part].annotation
    return True


@pytest.fixture(params=DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def text(request):
    return request.param.read_text()


def test_commands_and_flags_exist(text):
    assert [f"{' '.join(w)}: {c}" for w in calls(text) if (c := complaint(list(w)))] == []


def test_settings_exist(text):
    unknown = {n for n in VARIABLE.findall(text) if not setting_there(n)} - set(VARIABLES)
    assert unknown == set()


def test_endpoints_exist(text):
    named = [(m, p) for m, p in ENDPOINT.findall(text)]
    named += [("GET", p) for p in ADDRESS.findall(text) if p and p != "/analyze"]
    assert [f"{m} {p}" for m, p in named if not _fits(m, p)] == []


def _fits(method, path):
    """An address in an example may be asked by any method."""
    return answered(method, path) or (method == "GET" and answered("DELETE", path))


def test_files_and_links_exist(text, request):
    folder = request.node.callspec.params["text"].parent
    codes = [*INLINE.findall(FENCE.sub("", text)), *shell_lines(text)]
    named = {p for code in codes for p in PLACE.findall(code) if "{" not in code}
    assert sorted(p for p in named if not (ROOT / p.rstrip("/")).exists()) == []
    assert [link for link in LINK.findall(text) if not (folder / link).exists()] == []
    modules = re.findall(r"python3? -m ((?:benchmarks|tiktok_ray)\.[\w.]+)", text)
    assert [m for m in modules if not _runs(ROOT / m.replace(".", "/"))] == []


def _runs(module):
    """Whether there is a module, or a package that can be run, at a place without its ending."""
    return module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()


def test_units_exist(text):
    made = set(systemd.units("user", Path("/opt/tiktok-ray")))
    assert set(UNIT.findall(text)) - made == set()


def test_variables_beside_the_settings_are_read_somewhere():
    for name, place in VARIABLES.items():
        assert name in (ROOT / place).read_text()


@pytest.mark.parametrize(
    "line",
    [
        "tiktok-ray frobnicate",
        "tiktok-ray models fetch x",
        "tiktok-ray health --mend",
        "TIKTOK_RAY_PORT=1 deploy/run tiktok-ray monitor --twice",
        "cat x | tiktok-ray batch --no-such-flag",
    ],
)
def test_what_is_not_there_is_found(line):
    [words] = calls(f"```sh\n{line}\n```")
    assert complaint(list(words))
    assert complaint(["health", "--fix"]) is None


def test_a_command_that_is_meant_by_default_has_its_flags_checked():
    assert complaint(["batch", "MANIFEST", "--out", "DEST"]) is None
    assert complaint(["batch", "MANIFEST", "--no-such-flag"])


def test_other_inventions_are_found():
    assert not setting_there("TIKTOK_RAY_PROT")
    assert setting_there("TIKTOK_RAY_TRACKS__DENSE_FPS")
    assert not answered("GET", "/job/12")
    assert answered("DELETE", "/jobs/{id}")
    assert answered("GET", "/results/0123abcd.vtt?source=text")
    assert not answered("POST", "/health")
