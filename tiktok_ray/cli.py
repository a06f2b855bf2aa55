"""The command line."""

from __future__ import annotations

import os

# What the command itself computes is little, and a process without threads can be forked.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import contextlib
import json
import logging
import sqlite3
import sys
import time
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tiktok_ray import __version__, exports, logs
from tiktok_ray.batch.runner import app as batch_app
from tiktok_ray.commands import (
    Exit,
    explained,
    folder_of,
    names_of,
    open_settings,
    options_of,
    run_tidily,
)
from tiktok_ray.compose import analyze_source, fork_ahead, make_engine, make_graph
from tiktok_ray.console import (
    Display,
    console,
    console_for,
    headline,
    lacks_weights,
    problem,
    summary,
    table_of,
    told,
)
from tiktok_ray.exports import captions
from tiktok_ray.files import write_whole
from tiktok_ray.graph import Graph
from tiktok_ray.json_text import json_text
from tiktok_ray.ops import service_commands
from tiktok_ray.report import VideoReport
from tiktok_ray.reporting.files import CannotWrite, Written, check_folder, file_name, write_report
from tiktok_ray.serve import search_index
from tiktok_ray.serve.service_home import RESULTS
from tiktok_ray.serve.store import reports
from tiktok_ray.settings import Settings
from tiktok_ray.weights import Weights

if typing.TYPE_CHECKING:
    from tiktok_ray.serve.meaning import Alike, Compared, SameMeaning

log = logging.getLogger("tiktok_ray.cli")


def _say_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


class Guarded(TyperGroup):
    """Commands in which whatever is raised ends in words and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        with explained(answering=True):
            return super().invoke(ctx)


app = typer.Typer(
    name="tiktok-ray",
    cls=Guarded,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A complete, truthful JSON report on a short video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options_of_all(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Show the version and exit"
        ),
    ] = False,
) -> None:
    """A complete, truthful JSON report on a short video."""


models_app = typer.Typer(help="Model weights: list, pull and verify them.")
app.add_typer(models_app, name="models", no_args_is_help=True)
service_commands.register(app)
app.add_typer(batch_app, name="batch", no_args_is_help=True)


def write_page(report: VideoReport, folder: Path, video: Path) -> Path:
    """Write ``<video id>.html``, with the video inside where it fits; returns its path."""
    from tiktok_ray.viewer import page

    made = report.plain()
    try:
        text = page(made, video)
    except ValueError as error:
        problem(str(error), "writing the page without the video")
        text = page(made)
    return write_whole(folder / f"{file_name(report)}.html", text)


Only = Annotated[
    list[str] | None, typer.Option("--only", help="Analyzer names, comma-separated; repeatable")
]
Without = Annotated[
    list[str] | None, typer.Option("--without", help="Analyzer names, comma-separated; repeatable")
]
OutOption = Annotated[str, typer.Option("--out", help="Folder to write the report to")]
DescriberOption = Annotated[
    str | None, typer.Option("--describer", help="Describer to use; see docs/describers.md")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="analyzer.option=value; repeatable")
]


@app.command()
def analyze(
    source: Annotated[str, typer.Argument(help="A file or a URL")],
    only: Only = None,
    without: Without = None,
    out: OutOption = "results",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report to stdout")] = False,
    as_html: Annotated[bool, typer.Option("--html", help="Also write an HTML page")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 4 if an analyzer failed")] = False,
    decoder: Annotated[str | None, typer.Option("--decoder", help="pyav or decord")] = None,
    workers: Annotated[
        str | None, typer.Option("--workers", help="auto, ray, threads or processes")
    ] = None,
    describer: DescriberOption = None,
    pull: Annotated[bool, typer.Option("--pull", help="Download missing weights first")] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Do not read or write cached outputs")
    ] = False,
    options: SetOption = None,
) -> None:
    """Analyze one video: write its report and print what was found."""
    with explained():
        chosen_options = options_of(_with_describer(options, describer))
        settings = open_settings(decoder=decoder, workers=workers, options=chosen_options)
        if not source.strip():
            raise typer.BadParameter("give a file or a URL")
        folder, wanted, unwanted = folder_of(out), names_of(only), names_of(without)
        chosen = list(make_graph().select(wanted, unwanted))
        make_graph().check_options(settings.options)
        check_folder(folder)
        if pull:
            _pull(_wanted_weights(chosen, settings, False), settings)
        fork_ahead(settings)
        display = Display(source, make_graph().order)
        pages: list[Path] = []

        def keep(report: VideoReport, video: Path) -> None:
            if as_html:
                pages.append(write_page(report, folder, video))

        with logs.native_aside(settings.home), display:
            report = run_tidily(
                analyze_source(
                    source,
                    settings,
                    only=wanted,
                    without=unwanted,
                    listen=display,
                    keep=keep,
                    cached=not no_cache,
                )
            )
    with explained(answering=True):
        _finish(report, write_report(report, folder), as_json, settings)
    for page in pages:
        console.print(f"page: {page}", soft_wrap=True)
    if strict and report.failed():
        raise typer.Exit(Exit.STRICT)


def _with_describer(options: list[str] | None, describer: str | None) -> list[str]:
    named = [f"qwen2_vl_temporal.describer={describer}"] if describer else []
    return [*(options or ()), *named]


@app.command()
def probe(
    file: Annotated[Path, typer.Argument(help="A video file")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON")] = False,
) -> None:
    """Show what a file contains without analyzing it: streams, timestamps, colours, sound."""
    from tiktok_ray.media import probing

    with explained():
        found = probing.probed(file, open_settings())
    if as_json:
        print(json_text(found))
        return
    for heading, words in probing.told(found):
        print(f"{heading:<12}{words}")


@app.command()
def demo(
    out: OutOption = "results",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report to stdout")] = False,
    workers: Annotated[
        str | None, typer.Option("--workers", help="auto, ray, threads or processes")
    ] = None,
) -> None:
    """Generate a clip with known ground truth, analyze it, and compare the report with the truth."""
    from tiktok_ray.demo import compare, demo_clip

    with explained():
        settings, folder = open_settings(workers=workers), folder_of(out)
        check_folder(folder)
        begin = time.perf_counter()
        clip = demo_clip(settings)
        console.print(f"clip: {clip} ({time.perf_counter() - begin:.1f} s)", soft_wrap=True)
        fork_ahead(settings)
        display = Display("demo", make_graph().order)
        with logs.native_aside(settings.home), display:
            report = run_tidily(analyze_source(str(clip), settings, listen=display, cached=False))
    with explained(answering=True):
        _finish(report, write_report(report, folder), as_json, settings)
    lines = compare(report.plain())
    console.print(table_of([line.__dict__ for line in lines], "Compared with the ground truth"))
    wrong = [line for line in lines if line.verdict == "wrong"]
    unmeasured = sum(line.verdict == "not measured" for line in lines)
    right = len(lines) - len(wrong) - unmeasured
    console.print(f"{right} right, {len(wrong)} wrong, {unmeasured} not measured")


def _finish(report: VideoReport, written: Written, as_json: bool, settings: Settings) -> None:
    if as_json:
        sys.stdout.write(report.to_json() + "\n")
    told(report)
    console.print(summary(report))
    console.print(
        f"[bold]{headline(report, weights_wanted_gib(report, settings))}[/]", soft_wrap=True
    )
    run = report.run
    console.print(
        f"{run.wall_s:.1f} s for {report.video.duration_s:.1f} s of video "
        f"(realtime factor {run.realtime_factor:.2f}; decode {run.decode_s:.1f} s, "
        f"models loaded after {run.startup_s:.1f} s)"
    )
    for part in run.lost or ():
        problem(f"could not be produced: {part.part}: {part.reason}")
    console.print(f"report: {written.path}", soft_wrap=True)
    if written.remark:
        console.print(written.remark, soft_wrap=True)


def weights_wanted_gib(report: VideoReport, settings: Settings) -> float | None:
    """Size of the weights that the report's analyzers could not find, in GiB."""
    graph = make_graph()
    sizes: dict[str, float] = {}
    for name, section in report.analyzers.items():
        if name in graph.analyzers and lacks_weights(section):
            for variant in graph.analyzers[name].variants:
                if variant.cpu and variant.weights:
                    for w in variant.weights.values():
                        if not w.locate(settings.models):
                            sizes[w.id] = w.size_gib or 0.0
                    break
    return sum(sizes.values()) or None


@app.command()
def analyzers(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    options: Annotated[
        bool, typer.Option("--options", help="List the options that --set accepts instead")
    ] = False,
) -> None:
    """List the analyzers: what each one reads and how it would run here; or list their options."""
    from tiktok_ray.run.placement import plan

    graph = make_graph()
    if options:
        _show(list(_options_there(graph)), as_json)
        return
    made = plan(graph.analyzers.values(), open_settings())
    rows: list[dict[str, Any]] = []
    for name in graph.order:
        place = made.assignments.get(name)
        about = (graph.analyzers[name].__doc__ or "").strip().splitlines()[0]
        reads = [e.source + ("?" if e.soft else "") for e in graph.edges[name]]
        here = f"{place.variant.name} on {place.device}" if place else made.why_not(name)
        rows.append({"analyzer": name, "finds": about, "reads": ", ".join(reads), "here": here})
    _show(rows, as_json)


def _options_there(graph: Graph) -> Iterator[dict[str, Any]]:
    """A row for each option of each analyzer: its name as ``--set`` takes it, default, meaning."""
    for name in graph.order:
        for option, field in graph.analyzers[name].options_type.model_fields.items():
            choices = typing.get_args(field.annotation)
            plain = choices and all(isinstance(choice, str) for choice in choices)
            yield {
                "option": f"{name}.{option}",
                "default": json.dumps(field.default, default=str),
                "about": (field.description or "") + (f" ({', '.join(choices)})" if plain else ""),
            }


@app.command()
def graph(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Show the dependency graph of the analyzers, as Mermaid or JSON."""
    made = make_graph()
    edges = [
        {"from": e.source, "to": name, "soft": e.soft}
        for name in made.order
        for e in made.edges[name]
    ]
    if as_json:
        print(json_text({"order": made.order, "edges": edges}))
        return
    print("graph LR")
    for edge in edges:
        print(f"  {edge['from']} {'-.->' if edge['soft'] else '-->'} {edge['to']}")


@app.command()
def schema(
    name: Annotated[
        str | None, typer.Argument(help="An analyzer; default: the whole report")
    ] = None,
    markdown: Annotated[
        bool,
        typer.Option(
            "--markdown", help="Print a Markdown page of all fields (docs/fields.md) instead"
        ),
    ] = False,
) -> None:
    """Print the JSON Schema of reports, or of one analyzer's output."""
    from tiktok_ray.reporting import schema as forms

    if markdown and name:
        raise typer.BadParameter("--markdown covers the whole report: omit the name")
    if markdown:
        sys.stdout.write(forms.markdown())
    else:
        print(json_text(forms.analyzer_schema(name) if name else forms.report_schema()))


@models_app.command("list")
def models_list(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List every checkpoint: size, licence, location, and which analyzers need it."""
    from tiktok_ray.weights import rows

    settings = open_settings()
    found = [
        {
            "weights": row.id,
            "gib": None if row.size_gib is None else round(row.size_gib, 3),
            "licence": row.licence,
            "needed_by": ", ".join(row.needed_by),
            "here": str(row.place) if row.place else "no",
            "revision": row.revision,
        }
        for row in rows(make_graph().analyzers.values(), settings.models)
    ]
    _show(found, as_json)


def _wanted_weights(names: list[str], settings: Settings, everything: bool) -> list[Weights]:
    """Weights of the named analyzers or with the named ids; all that this machine's plan wants."""
    from tiktok_ray.run.placement import plan as make_plan

    graph = make_graph()
    known = {
        w.id: w for a in graph.analyzers.values() for v in a.variants for w in v.weights.values()
    }
    for name in names:
        if name not in graph.analyzers and name not in known:
            raise typer.BadParameter(
                f"{name!r} is neither an analyzer nor a checkpoint; see: tiktok-ray models list"
            )
    if everything:
        return list(known.values())
    chosen = {name: known[name] for name in names if name in known}
    made = make_plan(graph.analyzers.values(), settings, assume_weights=True)
    for name, assignment in made.assignments.items():
        if name in names or not names:
            chosen |= {w.id: w for w in assignment.variant.weights.values()}
    return list(chosen.values())


def _pull(wanted: list[Weights], settings: Settings) -> list[str]:
    """Pull what is not here; returns the ids that failed."""
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from tiktok_ray.net.pull_weights import PullError, Pulling, pull
    from tiktok_ray.weights import Bundled

    failed = []
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        for weights in wanted:
            if weights.locate(settings.models) or isinstance(weights, Bundled):
                console.print(f"here: {weights.id}", soft_wrap=True)
                failed += _export(weights, settings)
                continue
            task = bars.add_task(weights.id, total=None)

            def step(at: Pulling, task: TaskID = task) -> None:
                bars.update(
                    task, completed=at.done, total=at.total, description=f"{at.id} {at.file}"
                )

            size = f", {weights.size_gib:.2f} GiB" if weights.size_gib else ""
            console.print(f"pulling {weights.id}{size}, licence {weights.licence}", soft_wrap=True)
            try:
                place = pull(weights, settings.models, settings, step)
            except PullError as error:
                failed.append(weights.id)
                problem(f"{weights.id}: {error.type}: {error}", error.advice)
            else:
                console.print(f"pulled: {place}", soft_wrap=True)
                failed += _export(weights, settings)
            bars.remove_task(task)
    return failed


def _export(weights: Weights, settings: Settings) -> list[str]:
    """Export weights for the CPU where that is done and has not been; the id if it failed."""
    from tiktok_ray.methods.onnx_export import ExportFailed, at_hand, exported

    place = weights.locate(settings.models)
    if place is None:
        return []
    waiting = [recipe for recipe in weights.recipes if not at_hand(place, recipe)]
    try:
        for recipe in waiting:
            console.print(f"exporting {weights.id} for the CPU (only once)", soft_wrap=True)
            console.print(f"exported: {exported(place, recipe)}", soft_wrap=True)
    except ExportFailed as error:
        problem(f"{weights.id}: {error}", "the next analysis will retry; see the log for details")
        return [weights.id]
    return []


@models_app.command("pull")
def models_pull(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of analyzers or checkpoints")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="The weights of every variant")] = False,
) -> None:
    """Download missing weights: by default those that this machine's plan needs. Uses the network."""
    with explained():
        settings = open_settings()
        if _pull(_wanted_weights(names or [], settings, everything), settings):
            raise typer.Exit(1)


@models_app.command("verify")
def models_verify(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Check weights against the hashes recorded when they were pulled; exit 1 if any changed."""
    from tiktok_ray.weights import rows, verify

    settings = open_settings()
    verdicts = [
        verify(row.weights, settings.models)
        for row in rows(make_graph().analyzers.values(), settings.models)
    ]
    shown = [
        {
            "weights": v.id,
            "state": v.state,
            "revision": v.revision,
            "problems": "; ".join(v.problems),
        }
        for v in verdicts
    ]
    _show(shown, as_json)
    if any(v.state == "changed" for v in verdicts):
        raise typer.Exit(1)


@app.command()
def plan(
    vram: Annotated[
        float | None, typer.Option("--vram", help="Plan for GPUs with this much memory, in GiB")
    ] = None,
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="Number of such GPUs")] = 1,
    cpu: Annotated[bool, typer.Option("--cpu", help="Plan without a GPU")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Show where each analyzer would run, and in which variant, if all weights were available."""
    from tiktok_ray.run import placement

    settings = open_settings()
    cards: tuple[placement.Card, ...] | None = None
    if cpu:
        cards = ()
    elif vram is not None:
        cards = tuple(placement.Card(k, vram, f"{vram:g} GiB") for k in range(gpus))
    try:
        made = placement.plan(
            make_graph().analyzers.values(), settings, cards=cards, assume_weights=True
        )
    except placement.DoesNotFit as error:
        problem(str(error))
        raise typer.Exit(Exit.USAGE) from None
    rows = made.table(make_graph().order)
    for row in rows:
        row["weights"] = "here" if made.at_hand[row["analyzer"]] else "to be pulled"
    totals = [
        {
            "card": card.index,
            "name": card.name,
            "total_gib": round(card.total_gib, 2),
            "usable_gib": round(card.usable_gib, 2),
            "planned_gib": round(made.used_gib(card.index), 2),
            "processes": sum(a.card == card.index for a in made.assignments.values()),
        }
        for card in made.cards
    ]
    if as_json:
        print(json_text({"cards": totals, "analyzers": rows}))
        return
    _show(rows, False)
    if totals:
        _show(totals, False)
    ram = sum(row["ram_gib"] for row in rows)
    print(f"host memory of all processes: {ram:.1f} GiB (as declared)")


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Check this machine; exit 1 if something needs fixing."""
    from tiktok_ray.ops.doctor import examine

    findings = examine(make_graph(), open_settings())
    _show([finding.__dict__ for finding in findings], as_json)
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on")] = None,
) -> None:
    """Run the HTTP service until stopped, keeping the models loaded."""
    if "RAY_ADDRESS" not in os.environ:
        # Read when Ray is imported: a Ray of one machine then listens on loopback alone.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    from tiktok_ray.ops.lifecycle import CannotServe, Died, run

    with explained():
        settings = open_settings(host=host, port=port)
        try:
            with service_commands.serving(settings):
                run(settings, console.print)
        except CannotServe as error:
            problem(str(error))
            raise typer.Exit(Exit.USAGE) from None
        except Died:
            raise typer.Exit(Exit.DIED) from None


@app.command()
def down() -> None:
    """Stop the service, and remove any actors it left on a running Ray cluster."""
    from tiktok_ray.ops import lifecycle

    with explained():
        if not lifecycle.down(open_settings(), console.print):
            console.print("no service is running here")


def dataset_folder(folder: Path) -> Path:
    """The folder of a dataset. Raises ``typer.BadParameter`` for one that holds no reports."""
    if not (folder / "reports").is_dir():
        raise typer.BadParameter(f"not a dataset, since it has no reports folder: {folder}")
    return folder


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help='Words, "a phrase", prefix*')],
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="Comma-separated: " + ", ".join(search_index.KINDS)),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 20,
    dataset: Annotated[
        Path | None, typer.Option("--dataset", help="Search the reports of this dataset instead")
    ] = None,
    meaning: Annotated[
        bool, typer.Option("--meaning", help="Also frames that show it, and passages that mean it")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Search all results of the service, or of a dataset, for what was said, written, seen or heard,
    with timestamps."""
    with explained():
        folder, listed = open_settings().home / RESULTS, reports
        if dataset is not None:
            folder, listed = dataset_folder(dataset), search_index.dataset_reports
        query = " ".join(words)
        try:
            kinds = search_index.kinds_of(kind)
            search_index.matching(query)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        hits: list[search_index.Hit] = []
        like: tuple[Alike, SameMeaning] | None = None
        if folder.is_dir():
            try:
                with contextlib.closing(search_index.Finder(folder, listed)) as finder:
                    hits, _ = finder.search(query, kinds=kinds, limit=limit)
                    if meaning:
                        like = run_tidily(_by_meaning(query, finder, kinds, limit))
            except (sqlite3.OperationalError, PermissionError) as error:
                where = f"{folder / search_index.INDEX}: {error}"
                raise CannotWrite(where, "the index is stored next to the reports") from None
    rows = [hit.model_dump(exclude_none=True) for hit in hits]
    if as_json:
        names = ("alike", "same_meaning")
        told = [one.model_dump(exclude_none=True) for one in like] if like else (None, None)
        made = {"hits": rows, **dict(zip(names, told, strict=True))} if meaning else rows
        print(json.dumps(made, indent=1, ensure_ascii=False))
        return
    for hit in hits:
        when = "" if hit.start is None else f" at {hit.start:.1f} s"
        print(f"{hit.result}{when}, {hit.kind}: {hit.snippet}")
    if not hits:
        console.print("nothing found")
    if like:
        shots, passages = like
        if _looked_at("frames", shots):
            for shot in shots.shots:
                print(f"{shot.result} at {shot.at:.1f} s, looks alike: {shot.cosine:.3f}")
        if _looked_at("passages", passages):
            for one in passages.passages:
                when = "" if one.start is None else f" at {one.start:.1f} s"
                print(f"{one.result}{when}, {one.kind}: {one.text} (similarity {one.cosine:.3f})")


async def _by_meaning(
    query: str, finder: search_index.Finder, kinds: tuple[search_index.Kind, ...], limit: int
) -> tuple[Alike, SameMeaning]:
    from tiktok_ray.serve.meaning import alike, same_meaning

    engine = make_engine(open_settings(), single=True, cached=False)
    try:
        shots = await alike(query, engine, finder, limit)
        return shots, await same_meaning(query, engine, finder, kinds, limit)
    finally:
        await engine.workers.close()


def _looked_at(what: str, found: Compared) -> bool:
    """Whether something was compared; why not, and what was left out, is told."""
    if found.status != "ok":
        console.print(f"{what} by meaning: {found.status}: {found.reason}", markup=False)
    elif found.model and found.not_looked_at:
        console.print(f"{found.not_looked_at} results have no vectors of {found.model.id}")
    return found.status == "ok"


@app.command()
def duplicates(
    videos: Annotated[
        list[Path] | None, typer.Argument(help="Videos, or folders of videos")
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option("--dataset", help="Compare a dataset's videos whose files still exist"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Find duplicate videos and how they were altered: among files, in a dataset, or by default
    among the service's results whose videos are kept."""
    from tiktok_ray.serve import duplicates as same

    with explained():
        settings = open_settings()
        if videos and dataset:
            raise typer.BadParameter("give videos or a dataset, not both")
        for path in videos or ():
            if not path.exists():
                raise typer.BadParameter(f"{path} does not exist")
        results = settings.home / RESULTS
        if videos:
            wanted = same.of_files(videos)
        elif dataset is not None:
            wanted = same.of_dataset(dataset_folder(dataset))
        else:
            wanted = same.of_results(results) if results.is_dir() else iter(())
        found = same.among(wanted, settings)
    for name, reason in found.not_compared.items():
        console.print(f"{name}: {reason}", markup=False)
    if as_json:
        print(found.model_dump_json(indent=1, exclude_none=True))
        return
    for match in found.matches:
        changes = ", ".join(match.changes) or ("the same file" if match.same_file else "")
        print(f"{match.a} and {match.b}: {changes}")
    if not found.matches:
        console.print(f"no duplicates among {found.compared} videos")


@app.command("mcp")
def mcp_server(
    allow: Annotated[
        list[Path] | None,
        typer.Option("--allow", help="Folder whose files an agent may access; repeatable"),
    ] = None,
) -> None:
    """Serve an agent over stdin and stdout, using the Model Context Protocol.

    Uses the running service, or starts one of its own. Over HTTP: /mcp of the service.
    """
    from tiktok_ray.compose import make_own_service
    from tiktok_ray.serve.api import create_app
    from tiktok_ray.serve.mcp_server import serve_stdio

    with explained(answering=True):
        settings = open_settings()
        for folder in allow or ():
            if not folder.is_dir():
                raise typer.BadParameter(f"{folder} is not a folder")
        with logs.native_aside(settings.home):
            run_tidily(
                serve_stdio(
                    settings, allow or [], lambda: create_app(lambda: make_own_service(settings))
                )
            )


@app.command("report")
def report_page(
    result: Annotated[Path, typer.Argument(help="A report written by analyze")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The page to write")],
    video: Annotated[
        Path | None, typer.Option("--video", help="The video to embed in the page")
    ] = None,
) -> None:
    """Make a single HTML page of a report, to view or share; it works offline."""
    from tiktok_ray.viewer import page

    read = _read(result)
    try:
        text = page(read.plain(), video)
    except OSError as error:
        problem(f"{video} cannot be read: {error.strerror}")
        raise typer.Exit(Exit.INPUT) from None
    except ValueError as error:
        problem(str(error))
        raise typer.Exit(Exit.INPUT) from None
    _deliver(text, out, "page")


@app.command("captions")
def caption_file(
    result: Annotated[Path, typer.Argument(help="A report written by analyze")],
    format: Annotated[
        captions.Format,
        typer.Option(help="srt, vtt, txt, or json (every word with its timestamps)"),
    ] = "vtt",
    source: Annotated[
        captions.Source, typer.Option(help="speech, or text (the captions shown on screen)")
    ] = "speech",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The file to write")] = None,
) -> None:
    """Make a caption file from a report; prints to stdout unless --out is given."""
    try:
        text = captions.file_of(_read(result).plain(), format, source)
    except LookupError as error:
        problem(str(error))
        raise typer.Exit(Exit.INPUT) from None
    _deliver(text, out, "captions")


@app.command("export")
def export_file(
    result: Annotated[Path, typer.Argument(help="A report written by analyze")],
    to: Annotated[exports.To, typer.Option("--to", help="Format; see docs/exports.md")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The file to write")] = None,
    video: Annotated[
        Path | None,
        typer.Option("--video", help="The video, to get frame times where the frame rate varies"),
    ] = None,
) -> None:
    """Convert a report to the format of a video editor, an annotation tool or a table."""
    report = _read(result).plain()
    with explained():
        times = _times_of(report, to, video)
    try:
        text = exports.file_of(report, to, times)
    except exports.CannotExport as error:
        problem(str(error), error.advice)
        raise typer.Exit(Exit.INPUT) from None
    _deliver(text, out, to)


def _times_of(report: dict[str, Any], to: exports.To, video: Path | None) -> list[float] | None:
    """Times of the frames of the report's video, where they tell more than the report."""
    from tiktok_ray.files import sha256_of
    from tiktok_ray.media.stills import frame_times

    if video is None or not exports.wants_times(report, to):
        return None
    if not video.is_file() or sha256_of(video) != report["video"]["sha256"]:
        raise typer.BadParameter(f"{video} is not the video this report describes")
    return frame_times(video, open_settings())


@app.command("segments")
def find_segments(
    result: Annotated[Path, typer.Argument(help="A report written by analyze")],
    define: Annotated[Path, typer.Option("--define", help="The definition (a JSON file)")],
    video: Annotated[
        Path | None,
        typer.Option("--video", help="The video; needed if the definition asks questions"),
    ] = None,
    describer: DescriberOption = None,
    options: SetOption = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The file to write")] = None,
) -> None:
    """Find segments of a video that match your own definition; see docs/segments.md. Prints JSON."""
    from tiktok_ray import library
    from tiktok_ray.reporting import segments

    report = _read(result)
    with explained():
        try:
            text = define.read_bytes()
        except OSError as error:
            raise typer.BadParameter(f"{define} cannot be read: {error.strerror}") from None
        try:
            wanted = segments.Definition.read(text)
            settings = open_settings(options=options_of(_with_describer(options, describer)))
            work = library.asegments(report, wanted, video=video, settings=settings)
            found = run_tidily(work)
        except segments.BadDefinition as error:
            raise typer.BadParameter(f"{define}: {error}") from None
        except segments.SchemaMismatch as error:
            problem(f"schema_mismatch: {error}")
            raise typer.Exit(Exit.INPUT) from None
    _deliver(found.model_dump_json(indent=1, exclude_none=True) + "\n", out, "segments")


def _deliver(text: str, out: Path | None, what: str) -> None:
    """Write what was made of a report to a file and say so, or print it."""
    if out is None:
        sys.stdout.write(text)
        return
    write_whole(out, text)
    console.print(f"{what}: {out}", soft_wrap=True)


def _read(result: Path) -> VideoReport:
    from tiktok_ray.reporting.reading import NoReport, Report

    try:
        return Report.load(result)
    except NoReport as error:
        problem(str(error))
        raise typer.Exit(Exit.INPUT) from None
    except OSError as error:
        problem(f"{result} cannot be read: {error.strerror}")
        raise typer.Exit(Exit.INPUT) from None


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json_text(rows))
    else:
        console_for(sys.stdout).print(table_of(rows))


def main() -> None:
    """Entry point: usage errors exit 2, as Click does."""
    app()


if __name__ == "__main__":
    main()
