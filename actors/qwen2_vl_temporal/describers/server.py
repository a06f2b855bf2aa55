"""A describer that runs elsewhere, behind the chat interface of OpenAI that vLLM and others serve.

Pictures leave this machine for the one host that the user named, and for no other: each batch goes
through a guarded proxy that leads there alone, and is closed when its time is up. Redirects are not
followed, and proxies of the environment are not used.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from actors.qwen2_vl_temporal.describers import Answer, DescriberFailed, Picture, Prompt
from tiktok_ray.analyzer import Variant
from tiktok_ray.net.egress_proxy import EgressProxy, trust
from tiktok_ray.report import ModelUsed

log = logging.getLogger("tiktok_ray.describers")

#: Bytes that may come in for one batch of answers.
BUDGET = 16 * 2**20
CONNECT_S = 10.0
QUALITY = 90
#: What servers say of a model in their list that is another each time they are asked.
FLEETING = ("created", "permission")
#: What they say that tells no two models of one name apart.
NAMES = {"id", "object", "owned_by"}
#: Characters of what a server says of an error.
SAID = 200

SERVER = Variant("server", ram_gib=0.4, imports=("httpx",), elsewhere=True)


def checked_url(url: str) -> str:
    """The base URL of a server, without a trailing slash. Raises ``ValueError``."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the server URL must be like http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("the server URL must not contain a key or a query: see server_key_file")
    return url.rstrip("/")


class Server:
    """The model of a server. ``model`` None means the only one that it has.

    ``seconds`` limits one batch of answers, ``pixels`` each picture. The key, if any, is read from
    its file for every batch.
    """

    follows = True

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        key_file: Path | None = None,
        seconds: float = 120.0,
        pixels: int = 100_352,
    ) -> None:
        self.url = checked_url(url)
        self.host = (urlsplit(self.url).hostname or "").lower()
        self.model = model
        self.key_file = key_file
        self.seconds = seconds
        self.pixels = pixels

    def answer(self, prompts: Sequence[Prompt], *, tokens: int, seconds: float) -> list[Answer]:
        """Raises ``DescriberFailed`` where the server does not answer all of them in time."""
        limit = max(0.01, min(seconds, self.seconds))
        with self._asking(limit) as ask, ThreadPoolExecutor(len(prompts)) as pool:
            model = self.model or _only(ask("/models", None))
            asked = [self._request(prompt, model, tokens) for prompt in prompts]
            return [_read(made) for made in pool.map(lambda r: ask("/chat/completions", r), asked)]

    def which(self) -> ModelUsed:
        """The model that would answer now, as the server lists it.

        The revision is a digest of what the list says of it, such as where its weights lie; None
        where that is not enough to tell another model under the same name. Raises
        ``DescriberFailed`` where no model was named and the server lists none, or several.
        """
        try:
            with self._asking(min(CONNECT_S, self.seconds)) as ask:
                listed = ask("/models", None)
            name = self.model or _only(listed)
            [said] = [dict(one) for one in listed["data"] if one["id"] == name]
        except (DescriberFailed, TypeError, KeyError, ValueError) as error:
            if self.model is None:
                raise
            log.info("the server does not report which model answers: %s", error)
            return ModelUsed(id=self.model, variant=SERVER.name)
        kept = {key: value for key, value in said.items() if key not in FLEETING}
        if kept.keys() <= NAMES:
            return ModelUsed(id=name, variant=SERVER.name)
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]
        return ModelUsed(id=name, revision=f"listed-{digest}", variant=SERVER.name)

    def _request(self, prompt: Prompt, model: str, tokens: int) -> dict[str, Any]:
        content: list[dict[str, Any]] = []
        for t, picture in zip(prompt.times, prompt.pictures, strict=True):
            content.append({"type": "text", "text": f"Picture at {t:.1f} s:"})
            address = {"url": data_url(picture, self.pixels)}
            content.append({"type": "image_url", "image_url": address})
        content.append({"type": "text", "text": prompt.text})
        return {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": tokens,
            "temperature": 0,
            "seed": 0,
        }

    @contextlib.contextmanager
    def _asking(self, limit: float) -> Iterator[Any]:
        """A function from a path and a JSON body (None: GET) to the JSON that comes back."""
        import httpx

        until = time.monotonic() + limit
        proxy = EgressProxy(
            private_addresses=True,
            allowed_hosts=(self.host,),
            budget=BUDGET,
            connect_timeout_s=min(CONNECT_S, limit),
            idle_timeout_s=limit,
        )
        # However the other side dawdles: at its time the proxy closes, and every connection breaks.
        shutting = threading.Timer(limit, proxy.close)
        shutting.daemon = True
        with proxy:
            shutting.start()
            client = httpx.Client(
                proxy=proxy.url,
                trust_env=False,
                verify=trust(),
                timeout=limit,
                headers=self._headers(),
            )

            def ask(path: str, body: Mapping[str, Any] | None) -> Any:
                try:
                    method = "GET" if body is None else "POST"
                    reply = client.request(method, self.url + path, json=body)
                except httpx.HTTPError as error:
                    blame = proxy.blame()
                    late = time.monotonic() >= until
                    why = f"no response within {limit:g} s" if late else str(blame or error)
                    raise DescriberFailed(f"the describer's server: {why}") from None
                return self._json(reply)

            try:
                yield ask
            finally:
                shutting.cancel()
                client.close()

    def _headers(self) -> dict[str, str]:
        if self.key_file is None:
            return {}
        try:
            key = self.key_file.expanduser().read_text(encoding="utf-8").strip()
        except OSError as error:
            words = f"the server's API key cannot be read: {error.strerror}: {self.key_file}"
            raise DescriberFailed(words) from None
        return {"Authorization": f"Bearer {key}"}

    def _json(self, reply: Any) -> Any:
        if reply.status_code != 200:
            blame = reply.headers.get("x-outbound-refused")
            said = " ".join((blame or reply.text).split())[:SAID]
            raise DescriberFailed(
                f"the describer's server responded with {reply.status_code}: {said}"
            )
        try:
            return reply.json()
        except ValueError:
            raise DescriberFailed("the describer's server did not return JSON") from None


def data_url(picture: Picture, pixels: int) -> str:
    """A picture (RGB, uint8 [height, width, 3]) as JPEG in a URL, of at most so many pixels."""
    import cv2

    height, width = picture.shape[:2]
    scale = min(1.0, (pixels / (height * width)) ** 0.5)
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    smaller = picture if scale == 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(smaller, cv2.COLOR_RGB2BGR)
    good, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert good
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def _only(listed: Any) -> str:
    """The one model that a server lists."""
    try:
        names = [str(one["id"]) for one in listed["data"]]
    except (TypeError, KeyError):
        raise DescriberFailed("the describer's server lists no models") from None
    if len(names) != 1:
        told = ", ".join(names[:8]) or "none"
        raise DescriberFailed(
            f"the server has several models: {told}; choose one with server_model"
        )
    return names[0]


def _read(reply: Any) -> Answer:
    """What a chat completion says, and which model it says that it is from."""
    try:
        [choice] = reply["choices"]
        text = choice["message"].get("content") or ""
        used = (reply.get("usage") or {}).get("completion_tokens")
        ended = choice.get("finish_reason") == "stop"
        model = reply.get("model")
    except (TypeError, KeyError, ValueError, AttributeError):
        raise DescriberFailed("the describer's server did not return a chat completion") from None
    if not isinstance(text, str):
        raise DescriberFailed("the describer's server returned an answer that is not text")
    tokens = used if isinstance(used, int) and used >= 0 else None
    return Answer(text.strip(), tokens, ended, model if isinstance(model, str) else None)
