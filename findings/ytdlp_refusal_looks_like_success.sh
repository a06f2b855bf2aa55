#!/usr/bin/env bash
# yt-dlp 2026.10.26, against a server of our own on this machine.
#
# What max_filesize or match_filter refuses is no error: extract_info returns the video's facts as after a
# download, download returns 0 and there is no file. The two cannot be told apart by one rule either: after
# max_filesize there is an entry in requested_downloads whose filepath is None, after match_filter there
# is no entry.
#
# Seen (entries of requested_downloads, what download returns, files):
#   neither: ['x.mp4'] 0 ['x.mp4']
#   max_filesize: [None] 0 []
#   match_filter: [] 0 []
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check yt-dlp==2026.10.26

venv/bin/python - <<'PYTHON'
import functools
import os
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import yt_dlp


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def copyfile(self, source, output):
        try:
            super().copyfile(source, output)
        except ConnectionError:
            pass  # who refuses a file hangs up


os.mkdir("served")
with open("served/clip.mp4", "wb") as file:
    file.write(b"\0" * 300_000)
server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory="served"))
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/clip.mp4"
refusals = {
    "neither": {},
    "max_filesize": {"max_filesize": 1000},
    "match_filter": {"match_filter": lambda info, *, incomplete: "not this one"},
}
seen = {}
for name, refusal in refusals.items():
    into = tempfile.mkdtemp(dir=".")
    options = {"quiet": True, "noprogress": True, "proxy": "", "outtmpl": into + "/x.%(ext)s"}
    with yt_dlp.YoutubeDL(options | refusal) as downloader:
        facts = downloader.extract_info(url, download=True)
    paths = [entry.get("filepath") for entry in facts.get("requested_downloads") or []]
    with yt_dlp.YoutubeDL(options | refusal) as downloader:
        returned = downloader.download([url])
    names = [path and os.path.basename(path) for path in paths]
    seen[name] = names, returned, os.listdir(into)
    print(f"{name}:", *seen[name])
assert seen == {
    "neither": (["x.mp4"], 0, ["x.mp4"]),
    "max_filesize": ([None], 0, []),
    "match_filter": ([], 0, []),
}
PYTHON
