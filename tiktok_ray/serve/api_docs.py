"""The page at ``/docs``: the OpenAPI document, readable without a script or another host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from tiktok_ray.json_text import json_text

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 0.9em/1.4 ui-monospace, monospace; }
pre { background: #8882; padding: .7rem 1rem; border-radius: .4rem; overflow-x: auto; }
section { border-top: 1px solid #8885; padding: .5rem 0 1rem; }
h2 code { font-size: 1em; } .method { text-transform: uppercase; font-weight: 700; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15rem .8rem .15rem 0; }
"""

EXAMPLES = {
    ("post", "/analyze"): (
        "curl -F file=@video.mp4 -F only=cut_analysis,speech_transcription {base}/analyze",
        "curl -H 'Content-Type: application/json' \\\n"
        '  -d \'{"url": "https://www.tiktok.com/@scout2015/video/6718335390845095173"}\' \\\n'
        "  '{base}/analyze?wait=true'",
    ),
    ("get", "/jobs/{id}/events"): (
        "curl -N {base}/jobs/ID/events",
        "curl -N -H 'Last-Event-ID: 12' {base}/jobs/ID/events",
    ),
    ("delete", "/jobs/{id}"): ("curl -X DELETE {base}/jobs/ID",),
    ("get", "/results"): ("curl '{base}/results?q=cooking&analyzer=text_overlay&status=ok'",),
    ("get", "/results/{id}.srt"): ("curl -o video.srt {base}/results/ID.srt",),
    ("get", "/results/{id}/export"): ("curl -OJ '{base}/results/ID/export?to=otio'",),
    ("get", "/results/{id}/duplicates"): ("curl {base}/results/ID/duplicates",),
    ("get", "/search"): ("curl '{base}/search?q=soup&kind=said'",),
    ("get", "/health"): ("curl {base}/health",),
}


def docs_page(schema: Mapping[str, Any], base: str = "http://127.0.0.1:8000") -> str:
    """The OpenAPI document as one page of HTML."""
    info = schema["info"]
    body = "\n".join(
        _operation(method, path, operation, base)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(info["title"])}</title>'
        f"<style>{STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info.get('summary', ''))}. Machine-readable: "
        f'<a href="/openapi.json">/openapi.json</a>. Errors are problem details '
        f"(RFC 9457): <code>type</code>, <code>title</code>, <code>status</code>, "
        f"<code>detail</code> and <code>advice</code>.</p>{body}</html>"
    )


def _operation(method: str, path: str, operation: Mapping[str, Any], base: str) -> str:
    about = escape(operation.get("description", "")).replace("\n\n", "</p><p>")
    examples = "".join(
        f"<pre>{escape(line.replace('{base}', base))}</pre>"
        for line in EXAMPLES.get((method, path), ())
    )
    return (
        f'<section><h2><span class="method">{method}</span> <code>{escape(path)}</code></h2>'
        f"<p>{about}</p>{_parameters(operation)}{_body(operation)}"
        f"<table><tr><th>Response</th><th></th></tr>{''.join(_answers(operation))}</table>"
        f"{examples}</section>"
    )


def _parameters(operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}</td>"
        f"<td>{escape(p.get('description', ''))}</td></tr>"
        for p in operation.get("parameters", ())
    )
    return f"<table><tr><th>Parameter</th><th>In</th><th></th></tr>{rows}</table>" if rows else ""


def _body(operation: Mapping[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    shown = "".join(
        f"<h3><code>{escape(kind)}</code></h3><pre>{escape(json_text(one['schema']))}</pre>"
        for kind, one in content.items()
        if "$ref" not in one["schema"]
    )
    kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in content)
    return f"<p>Body: {kinds}</p>{shown}" if content else ""


def _answers(operation: Mapping[str, Any]) -> Iterator[str]:
    for code, answer in operation["responses"].items():
        yield f"<tr><td>{escape(code)}</td><td>{escape(answer.get('description', ''))}</td></tr>"
