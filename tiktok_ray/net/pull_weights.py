"""Downloads weights from a model hub or a fixed URL: resumable, verified, with timeouts.

The hub is accessed over its documented HTTP API, by our own client through ``egress_proxy.EgressProxy``:
``huggingface_hub`` waits for minutes on an unresponsive hub, discards partial downloads, and does not
compare hashes. A revision is resolved to a commit first, so that everything comes from one state of
the repository; every file is checked against the hub's metadata.
"""

from __future__ import annotations

import base64
import fcntl
import fnmatch
import hashlib
import json
import os
import re
import shutil
import stat
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import httpx

from tiktok_ray.files import digest_of, sha256_of, write_whole
from tiktok_ray.net.egress_proxy import REFUSED_HEADER, EgressProxy, Refused, trust
from tiktok_ray.settings import Settings
from tiktok_ray.weights import (
    PICKLES,
    Asset,
    Bundled,
    Hub,
    Manifest,
    Weights,
    manifest_path,
)

HUB = "https://huggingface.co"
STAGING = ".pulling"
CHUNK = 1024 * 1024
UNPACKED_LIMIT = 32 * 1024**3

#: What to do about each type of failure.
ADVICE: Mapping[str, str] = {
    "unreachable": "check the network; the partial download is kept, pull again to resume",
    "silent": "retry later; the partial download is kept, pull again to resume",
    "refused": "set TIKTOK_RAY_PRIVATE_ADDRESSES=true if the hub is inside your own network",
    "not_found": "check the name; a private model needs the HF_TOKEN of an account with access",
    "gated": "accept its terms on the model's page and set HF_TOKEN to your token",
    "corrupt": "pull again; if it recurs, the hub or something in between is at fault",
    "incomplete": "its source has changed; choose another variant, or download it manually",
    "no_source": "download it manually into the models folder",
    "no_space": "free some space, or set TIKTOK_RAY_MODELS to a folder on another disk",
    "busy": "wait for the other pull to finish",
    "unsafe": "do not use this file",
    "stopped": "the partial download is kept, pull again to resume",
}


class PullError(Exception):
    """Weights could not be pulled. ``type`` is a key of ``ADVICE``."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(message)
        self.type = type
        self.advice = ADVICE[type]

    def __reduce__(self) -> tuple[Any, ...]:
        return PullError, (self.type, str(self))


class Pulling(NamedTuple):
    """Progress of one pull, in bytes; ``total`` is None while it is not known."""

    id: str
    file: str
    done: int
    total: int | None


Progress = Callable[[Pulling], None]


def pull(
    weights: Weights,
    models: Path,
    settings: Settings,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Path:
    """Download weights into the models folder; returns their location.

    Weights that are already complete on this machine are left as is. An interrupted pull, or one
    stopped by ``stop``, resumes where it ended. Weights appear in their place complete and verified,
    or not at all. Raises ``PullError``, also if no data arrives for ``settings.fetch_silence_s``.
    """
    there = weights.locate(models)
    if there is not None:
        return there
    if isinstance(weights, Bundled):
        raise PullError("no_source", f"{weights.id} is part of the package {weights.package}")
    if not isinstance(weights, Hub | Asset) or (isinstance(weights, Asset) and not _urls(weights)):
        raise PullError("no_source", f"no download URL is known for {weights.id}")
    staging = models / STAGING / weights.id.replace("/", "--")
    place = next(weights.places(models))
    with _alone(staging), _Transfer(weights.id, settings, progress, stop) as transfer:
        if isinstance(weights, Hub):
            manifest = _pull_hub(weights, staging, transfer)
        else:
            manifest = _pull_asset(weights, staging, transfer)
        _settle(weights, staging / "files", place, manifest)
        shutil.rmtree(staging)
    return place


@contextmanager
def _alone(staging: Path) -> Iterator[None]:
    """Hold the lock of one checkpoint's staging folder."""
    try:
        staging.mkdir(parents=True, exist_ok=True)
        lock = staging.with_name(staging.name + ".lock").open("w")
    except OSError as error:
        raise PullError("no_space", f"{staging} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PullError("busy", f"another pull of {staging.name} is running") from error
        yield


def _settle(weights: Weights, files: Path, place: Path, manifest: Manifest) -> None:
    """Move what came to its place, with its manifest, in one step where nothing lies there yet."""
    text = json.dumps(asdict(manifest), indent=1, sort_keys=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(weights, Asset) and not weights.needs:
        (files / place.name).replace(place)
        manifest_path(place).write_text(text, encoding="utf-8")
    elif not place.exists():
        manifest_path(files).write_text(text, encoding="utf-8")
        files.rename(place)
    else:
        for name in manifest.files:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (files / name).replace(place / name)
        manifest_path(place).write_text(text, encoding="utf-8")
    if not weights.whole(place):
        raise PullError("incomplete", f"{weights.id} lacks required files")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# One file


@dataclass(frozen=True)
class _Wanted:
    """One file of a pull: where it comes from, and what is known of it beforehand."""

    name: str
    url: str
    size: int | None = None
    sha256: str | None = None
    git: str | None = None


class _TryAgain(Exception):
    """The same request may succeed when it is made again."""


class _Transfer:
    """The connection of one pull, and how far it has come."""

    def __init__(
        self,
        id: str,
        settings: Settings,
        progress: Progress | None,
        stop: threading.Event | None,
    ) -> None:
        self.id = id
        self.silence_s = settings.fetch_silence_s
        self.done = 0
        self.total: int | None = None
        self._progress = progress
        self._stop = stop
        self._proxy = EgressProxy(
            private_addresses=settings.private_addresses,
            connect_timeout_s=min(10.0, self.silence_s),
            idle_timeout_s=self.silence_s + 1,
        )

    def __enter__(self) -> _Transfer:
        self.client = httpx.Client(
            proxy=self._proxy.__enter__().url,
            trust_env=False,
            verify=trust(),
            timeout=httpx.Timeout(self.silence_s, connect=self.silence_s + 1),
            follow_redirects=True,
            headers={"User-Agent": "tiktok-ray", "Accept-Encoding": "identity"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._proxy.close()

    def step(self, file: str, size: int) -> None:
        """``size`` more bytes of ``file`` are there."""
        self.done += size
        if self._progress is not None:
            self._progress(Pulling(self.id, file, self.done, self.total))
        if self._stop is not None and self._stop.is_set():
            raise PullError("stopped", f"the pull of {self.id} was cancelled")

    def explained(self, error: Exception, url: str) -> PullError:
        """What a client's error means, told by the proxy where the proxy knows better."""
        host = urlsplit(url).hostname
        blame = self._proxy.blame()
        if isinstance(blame, Refused):
            return PullError("refused", str(blame))
        if isinstance(error, httpx.TimeoutException):
            return PullError("silent", f"{host} sent nothing for {self.silence_s:g} s")
        if blame is not None:
            return PullError("silent" if "silent" in blame.reason else "unreachable", str(blame))
        return PullError("unreachable", f"{host}: {error or type(error).__name__}")

    def refuse_status(self, answer: httpx.Response, what: str) -> None:
        """Raise what a response's status means, unless it is one of success."""
        code = answer.status_code
        if code < 300:
            return
        if REFUSED_HEADER in answer.headers:
            raise self.explained(_TryAgain(f"it responded with {code}"), str(answer.url))
        said = answer.headers.get("X-Error-Code") or answer.reason_phrase
        words = f"{answer.url.host} answered {code} {said} for {what}"
        if code == 403 or said == "GatedRepo":
            raise PullError("gated", words)
        if code in (401, 404, 410):
            raise PullError("not_found", words)
        if code in (408, 429) or code >= 500:
            raise _TryAgain(words)
        raise PullError("unreachable", words)

    def described(self, url: str, headers: Mapping[str, str], what: str) -> Any:
        """The JSON at ``url``."""
        for last in (False, True):
            try:
                answer = self.client.get(url, headers=headers, params={"blobs": "true"})
                self.refuse_status(answer, what)
                return answer.json()
            except ValueError as error:
                words = f"{urlsplit(url).hostname} did not respond with JSON for {what}"
                raise PullError("unreachable", words) from error
            except (httpx.TransportError, _TryAgain) as error:
                failure = self.explained(error, url)
                if last or failure.type in ("refused", "silent"):
                    raise failure from error
            time.sleep(0.5)
        raise AssertionError("the second try ends in one way or another")

    def fetch(
        self,
        wanted: _Wanted,
        path: Path,
        headers: Callable[[], Mapping[str, str]],
        began: Callable[[httpx.Response], None] = lambda _: None,
    ) -> None:
        """Download one file to ``path``, resuming where ``path.part`` ends.

        A broken connection is resumed as long as it makes progress; one that brings no data is
        retried once. ``began`` sees each response before its body.
        """
        part = path.with_name(path.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        self.step(wanted.name, _size(part))
        barren = 0
        while True:
            before = _size(part)
            try:
                self._stream(wanted, part, headers(), began)
            except httpx.TimeoutException as error:
                raise self.explained(error, wanted.url) from error
            except (httpx.TransportError, _TryAgain) as error:
                barren = 0 if _size(part) > before else barren + 1
                failure = self.explained(error, wanted.url)
                if barren > 1 or failure.type in ("refused", "silent"):
                    raise failure from error
                time.sleep(0.5 * barren)
            else:
                part.replace(path)
                return

    def _stream(
        self,
        wanted: _Wanted,
        part: Path,
        headers: Mapping[str, str],
        began: Callable[[httpx.Response], None],
    ) -> None:
        """One request's worth of a file, appended to ``part``; raises unless it is then whole."""
        have = _size(part)
        if wanted.size is not None and have > wanted.size:
            self._drop(part)
            have = 0
        if wanted.size == have and part.exists():
            return
        asked = {**headers, **({"Range": f"bytes={have}-"} if have else {})}
        with self.client.stream("GET", wanted.url, headers=asked) as answer:
            if answer.status_code == 416:
                self._drop(part)
                raise _TryAgain("the server cannot resume where the file ends")
            self.refuse_status(answer, wanted.name)
            if have and not _goes_on(answer, have):
                self._drop(part)
                have = 0
            length = _length(answer)
            whole = None if length is None else have + length
            if wanted.size is not None and whole not in (None, wanted.size):
                words = f"{wanted.name} has {whole} bytes instead of the announced {wanted.size}"
                raise PullError("corrupt", words)
            _refuse_space(part.parent, length or 0)
            began(answer)
            with part.open("ab") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
                    self.step(wanted.name, len(chunk))
                    if wanted.size is not None and file.tell() > wanted.size:
                        file.truncate(0)
                        words = f"more than {wanted.size} bytes of {wanted.name} were received"
                        raise PullError("corrupt", words)
        if wanted.size is not None and _size(part) < wanted.size:
            raise _TryAgain(f"{wanted.name} was interrupted after {_size(part)} bytes")

    def _drop(self, part: Path) -> None:
        self.done -= _size(part)
        part.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _length(answer: httpx.Response) -> int | None:
    """Bytes of a response's body, where it says so and is not compressed."""
    length = answer.headers.get("Content-Length", "")
    plain = answer.headers.get("Content-Encoding", "identity") == "identity"
    return int(length) if plain and length.isdecimal() else None


def _goes_on(answer: httpx.Response, have: int) -> bool:
    """Whether a response goes on exactly where our part ends."""
    ranges = answer.headers.get("Content-Range", "")
    return answer.status_code == 206 and ranges.startswith(f"bytes {have}-")


def _refuse_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if need > free:
        gib = 1024**3
        words = f"{need / gib:.2f} GiB are needed in {folder}, {free / gib:.2f} are free"
        raise PullError("no_space", words)


def _inside(name: str) -> str:
    """A file name that stays in its folder, or ``PullError``."""
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or re.search(r"[\\\0:]", name):
        raise PullError("unsafe", f"the file name {name!r} leads outside its folder")
    return str(path)


def _state(staging: Path, key: str) -> dict[str, Any]:
    """What an earlier pull of the same ``key`` left here; a clean start if there is none."""
    path = staging / "state.json"
    if path.is_file():
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if state["key"] == key:
            return state
    for name in ("files", "archives"):
        if (staging / name).exists():
            shutil.rmtree(staging / name)
    return {"key": key, "files": {}, "sources": {}}


def _keep(staging: Path, state: dict[str, Any]) -> None:
    write_whole(staging / "state.json", json.dumps(state))


# From a hub


def _pull_hub(weights: Hub, staging: Path, transfer: _Transfer) -> Manifest:
    hub = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    headers = _authorization()
    commit, files = _listing(weights, hub, headers, transfer)
    state = _state(staging, commit)
    _keep(staging, state)
    transfer.total = sum(file.size or 0 for file in files)
    for file in files:
        path = staging / "files" / file.name
        if file.name in state["files"] and path.is_file():
            transfer.step(file.name, path.stat().st_size)
            continue
        transfer.fetch(file, path, lambda: headers)
        state["files"][file.name] = _checked(file, path)
        _keep(staging, state)
    return Manifest(
        id=weights.id,
        source=f"{hub}/{weights.id}",
        revision=commit,
        licence=weights.licence,
        pulled=_now(),
        checked="SHA-256 or git hash of every file, as stated by its hub",
        files=state["files"],
    )


def _authorization() -> dict[str, str]:
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _listing(
    weights: Hub, hub: str, headers: Mapping[str, str], transfer: _Transfer
) -> tuple[str, list[_Wanted]]:
    """The commit that the revision stands for now, and the files wanted of it."""
    url = f"{hub}/api/models/{weights.id}/revision/{quote(weights.revision, safe='')}"
    told = transfer.described(url, headers, weights.id)
    try:
        commit = str(told["sha"])
        entries = {_inside(entry["rfilename"]): entry for entry in told["siblings"]}
    except (KeyError, TypeError) as error:
        raise PullError("unreachable", f"{hub} does not describe {weights.id}") from error
    names = [name for name in sorted(entries) if _matches(name, weights.files)]
    names = [name for name in names if not _superseded(name, names)]
    code = [name for name in names if name.endswith(".py")]
    if code:
        raise PullError("unsafe", f"{weights.id} would download code: {', '.join(code)}")
    for pattern in weights.needs:
        if not any(_matches(name, (pattern,)) for name in names):
            raise PullError("incomplete", f"{weights.id} has no file {pattern} at {commit[:12]}")
    base = f"{hub}/{weights.id}/resolve/{commit}"
    return commit, [_announced(entries[name], name, f"{base}/{quote(name)}") for name in names]


def _announced(entry: Mapping[str, Any], name: str, url: str) -> _Wanted:
    """A file as its hub describes it: large ones by SHA-256, small ones by git's hash."""
    large = entry.get("lfs") or {}
    size = large.get("size", entry.get("size"))
    return _Wanted(name, url, size, large.get("sha256"), None if large else entry.get("blobId"))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(name, pattern) and name.count("/") == pattern.count("/")
        for pattern in patterns
    )


def _superseded(name: str, names: Iterable[str]) -> bool:
    """Whether a pickled checkpoint lies beside one in safetensors, which loaders prefer."""
    path = PurePosixPath(name)
    if not (path.suffix in PICKLES and path.name.startswith("pytorch_model")):
        return False
    beside = (PurePosixPath(other) for other in names)
    return any(p.parent == path.parent and p.suffix == ".safetensors" for p in beside)


def _checked(wanted: _Wanted, path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file that came; ``PullError`` if it is not what was announced."""
    size, sha256 = path.stat().st_size, sha256_of(path)
    wrong = wanted.sha256 is not None and sha256 != wanted.sha256
    if wanted.git is not None:
        digest = hashlib.sha1(f"blob {size}\0".encode() + path.read_bytes())
        wrong = digest.hexdigest() != wanted.git
    if wrong:
        path.unlink()
        raise PullError("corrupt", f"{wanted.name} differs from the announced content")
    return {"size": size, "sha256": sha256}


# From a fixed address


def _urls(weights: Asset) -> list[str]:
    return [url for url in (weights.url, *weights.urls) if url]


def _pull_asset(weights: Asset, staging: Path, transfer: _Transfer) -> Manifest:
    urls, folder = _urls(weights), bool(weights.needs)
    state = _state(staging, " ".join(urls))
    _keep(staging, state)
    for url in urls:
        name = _inside(PurePosixPath(urlsplit(url).path if folder else weights.id).name)
        archive = folder and name.endswith(".zip")
        path = staging / ("archives" if archive else "files") / name
        if not path.is_file():
            _fetch_asset(_Wanted(name, url), path, state, staging, transfer)
        if archive:
            unpack(path, staging / "files", PurePosixPath(weights.id).name)
    files = {
        path.relative_to(staging / "files").as_posix(): {
            "size": path.stat().st_size,
            "sha256": sha256_of(path),
        }
        for path in sorted((staging / "files").rglob("*"))
        if path.is_file()
    }
    if folder and not weights.whole(staging / "files"):
        raise PullError("incomplete", f"{weights.id} lacks required files")
    sources = [state["sources"][url] for url in urls]
    return Manifest(
        id=weights.id,
        source=" ".join(urls),
        revision=" ".join(source["validator"] for source in sources if source["validator"]) or None,
        licence=weights.licence,
        pulled=_now(),
        checked="MD5, as stated by its server"
        if all(source["md5"] for source in sources)
        else "length only: its server states no hash",
        files=files,
    )


def _fetch_asset(
    wanted: _Wanted, path: Path, state: dict[str, Any], staging: Path, transfer: _Transfer
) -> None:
    """Bring a file whose server says what state of it there is (ETag), and perhaps its MD5."""
    part = path.with_name(path.name + ".part")
    sources, before = state["sources"], transfer.done
    if not (sources.get(wanted.url) or {}).get("validator"):
        part.unlink(missing_ok=True)

    def headers() -> dict[str, str]:
        validator = (sources.get(wanted.url) or {}).get("validator")
        return {"If-Range": validator} if validator and _size(part) else {}

    def began(answer: httpx.Response) -> None:
        etag = answer.headers.get("ETag", "")
        strong = etag if not etag.startswith("W/") else ""
        sources[wanted.url] = {
            "validator": strong or answer.headers.get("Last-Modified", ""),
            "md5": _stated_md5(answer),
        }
        length = _length(answer)
        if length is not None:
            transfer.total = before + _size(part) + length
        _keep(staging, state)

    transfer.fetch(wanted, path, headers, began)
    stated = sources[wanted.url]["md5"]
    if stated and digest_of(path, "md5") != stated:
        path.unlink()
        words = f"{wanted.name} differs from the content stated by its server"
        raise PullError("corrupt", words)


def _stated_md5(answer: httpx.Response) -> str | None:
    """The MD5 of the whole file as Google's storage states it (``x-goog-hash``), in hexadecimal."""
    match = re.search(r"md5=([A-Za-z0-9+/]{22}==)", answer.headers.get("x-goog-hash", ""))
    return base64.b64decode(match[1]).hex() if match else None


def unpack(archive: Path, folder: Path, name: str) -> None:
    """Unpack a zip file into ``folder``; a single top folder called ``name`` is left out.

    Raises ``PullError`` if an entry leads outside the folder, is a link, or is too large.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            if sum(entry.file_size for entry in entries) > UNPACKED_LIMIT:
                raise PullError("unsafe", f"{archive.name} would unpack to too many bytes")
            names = [_inside(entry.filename) for entry in entries]
            below = all(PurePosixPath(inside).parts[0] == name for inside in names)
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_space(folder, sum(entry.file_size for entry in entries))
            for entry, inside in zip(entries, names, strict=True):
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise PullError("unsafe", f"{archive.name} contains a link: {inside}")
                parts = PurePosixPath(inside).parts
                target = folder.joinpath(*(parts[1:] if below and len(parts) > 1 else parts))
                target.parent.mkdir(parents=True, exist_ok=True)
                # zipfile itself refuses an entry that is longer than it says or fails its CRC.
                with opened.open(entry) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, CHUNK)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        archive.unlink()
        raise PullError("corrupt", f"{archive.name} cannot be unpacked: {error}") from error
