"""Analyzers as Ray actors. The only module that owns any.

Each analyzer is one actor in a process of its own, one call in flight, queued by the engine and
never by Ray. Ray gives actors no CPUs (``num_cpus=0``): the engine's cores decide what runs. A call
that runs past its limit is ended by killing its actor, since a synchronous call cannot be
cancelled; Ray restarts it, and a used-up restart budget means a fresh actor.

Embedded, a fleet dies with its process. In service its actors are detached and named after the
analyzer and a hash of code and configuration: a restarted ingress finds its models warm and never
meets stale code, the actors of other hashes are removed, and one that is still busy with a dead
owner's call is waited for a while and then replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import exceptions

from tiktok_ray import logs
from tiktok_ray.analyzer import Analyzer, Options
from tiktok_ray.graph import Graph, code_digest
from tiktok_ray.net.telemetry_block import block_telemetry, telemetry_blocked, tighten_token
from tiktok_ray.run.engine import (
    DECODER,
    CapacityError,
    Kind,
    Tracks,
    WorkerDied,
    options_for,
    tracks_of,
)
from tiktok_ray.run.placement import Assignment, Card, Plan, cards_here, packing_order
from tiktok_ray.run.worker import (
    CallFailed,
    GivesBackAtRest,
    Reply,
    Worker,
    decode,
    failure,
    limit_memory,
    limit_threads,
)
from tiktok_ray.settings import Settings, ray_address

log = logging.getLogger("tiktok_ray.run.ray_actors")

NAMESPACE = "tiktok_ray"
RESTARTS = 10
#: What loads quicker was loaded before: the log is spared that.
LOADED_S = 0.001
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
#: How often an actor that restarts is asked whether it is back.
RESTART_STEP_S = 0.2


class AnalyzerActor:
    """One analyzer in a process of its own. Nothing heavy is imported before ``load``."""

    def __init__(
        self,
        analyzer: type[Analyzer],
        options: Options,
        assignment: Assignment,
        log_file: Path | None = None,
    ) -> None:
        limit_threads()
        block_telemetry(ray.util.get_node_ip_address())
        if log_file is not None:
            logs.write_to(log_file)
        self.worker = Worker(analyzer, options, assignment)
        self._at_work = GivesBackAtRest()

    def __repr__(self) -> str:
        """How Ray's dashboard and logs call it."""
        return self.worker.assignment.name

    def load(self, correlation: str = "") -> Reply:
        with self._at_work, logs.correlated(correlation):
            return self._told("loaded", self.worker.load())

    def run(self, names: Sequence[str], *values: Any, correlation: str = "") -> Reply:
        with self._at_work, logs.correlated(correlation):
            return self._told("ran", self.worker.run(dict(zip(names, values, strict=True))))

    def _told(self, what: str, reply: Reply) -> Reply:
        """Log a reply, and pass it on."""
        name = self.worker.assignment.name
        facts = {"analyzer": name, "status": reply.status, "seconds": round(reply.seconds, 3)}
        more = {key: v for key in ("reason", "trace") if (v := getattr(reply, key))}
        level = logging.WARNING if reply.status == "failed" else logging.INFO
        if what == "loaded" and reply.status == "ok" and reply.seconds < LOADED_S:
            level = logging.DEBUG
        log.log(level, "%s %s: %s", name, what, reply.status, extra={**facts, **more})
        return reply

    def facts(self) -> dict[str, Any]:
        """What this process is and sees."""
        return {
            "pid": os.getpid(),
            "gpus": ray.get_gpu_ids(),
            "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "loaded": self.worker.loaded,
            "proxy": os.environ.get("https_proxy"),
        }


class DecoderActor:
    """Decodes in a separate process: a malicious file kills nothing else."""

    def __init__(self, memory_gib: float) -> None:
        limit_threads()
        block_telemetry(ray.util.get_node_ip_address())
        limit_memory(memory_gib)
        self._at_work = GivesBackAtRest()

    def decode(self, path: str, want: Sequence[str], settings: Settings) -> tuple[Any, ...]:
        """What came of it, then one value for each track in ``want`` (None where there is none)."""
        with self._at_work:
            done = decode(Path(path), want, settings)
        tracks = done.decoded.tracks if done.decoded else {}
        present = [name for name in want if name in tracks]
        told = done.without_tracks() if done.decoded else done
        return ((told, present), *[tracks.get(name) for name in want])

    def __repr__(self) -> str:
        return DECODER

    def facts(self) -> dict[str, Any]:
        return {"pid": os.getpid()}


def cards_of_node(settings: Settings) -> tuple[Card, ...]:
    """The cards that Ray counts on the node of this process, for one of Ray's own processes: there
    ``CUDA_VISIBLE_DEVICES`` says what the process may use, not what the node has."""
    here = ray.get_runtime_context().get_node_id()
    counts = {n["NodeID"]: int(n["Resources"].get("GPU", 0)) for n in ray.nodes()}
    return cards_here(settings, counts.get(here, 0))


def open_ray(settings: Settings, cards: int = 0, *, dashboard: bool = False) -> None:
    """Start a local Ray cluster from this process, unless one is connected or an address is set.

    With its ``dashboard`` all of it listens on loopback, and asks for Ray's own token.
    """
    tighten_token()
    if ray.is_initialized():
        return
    if (address := ray_address(settings)) and not dashboard:
        ray.init(
            address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR
        )
        return
    # Ray's dashboard process asks cloud metadata addresses where it runs, whatever the settings.
    with telemetry_blocked(ray.util.get_node_ip_address()):
        ray.init(
            address="local",
            _node_ip_address="127.0.0.1" if dashboard else None,
            dashboard_host="127.0.0.1",
            dashboard_port=settings.dashboard_port if dashboard else None,
            namespace=NAMESPACE,
            num_cpus=settings.cores,
            num_gpus=cards,
            object_store_memory=round(settings.object_store_gib * 2**30),
            include_dashboard=dashboard,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    tighten_token()  # which Ray may just have written


class Fleet:
    """Implements ``Workers`` with Ray actors that die with this process, unless ``detached``.

    ``where`` are Ray's options that say on which node its actors are.
    """

    kind: Kind = "ray"

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        settings: Settings,
        *,
        detached: bool = False,
        where: Mapping[str, Any] | None = None,
    ) -> None:
        self.graph = graph
        self.plan = plan
        self.settings = settings
        self.detached = detached
        self._where = dict(where or {})
        self._attached: set[str] = set()
        self._swept = False
        self._actors: dict[str, Any] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._ready: set[str] = set()
        #: By analyzer that was loaded, what it replied; None if it replied to another owner.
        self._loaded: dict[str, Reply | None] = {}
        self._opening = asyncio.Lock()

    async def start(self, names: Collection[str]) -> None:
        async with self._opening:
            self._check_shares(names)
            await asyncio.to_thread(open_ray, self.settings, len(self.plan.cards))
            if self.detached and not self._swept:
                await asyncio.to_thread(remove_actors, except_for=self._names())
                self._swept = True
            for name in (DECODER, *sorted(names, key=self._precedence)):
                if name not in self._actors:
                    self._locks[name] = asyncio.Lock()
                    self._actors[name] = self._create(name)

    def _precedence(self, name: str) -> tuple[int, float, str]:
        """Those on cards first, as the plan packed them; then the most urgent."""
        assignment = self.plan.assignments[name]
        if assignment.card is not None:
            return 0, *packing_order(name, assignment.vram_gib)
        return 1, -self.graph.urgency[name], name

    def _check_shares(self, names: Collection[str]) -> None:
        """Raise ``CapacityError`` before any actor is made if the shares exceed the cards."""
        shares = {
            n: self.plan.assignments[n].gpu_share for n in {*names, *self._actors} - {DECODER}
        }
        if sum(shares.values()) > len(self.plan.cards) + 1e-9:
            asked = ", ".join(f"{n} {share:.4f}" for n, share in shares.items() if share)
            raise CapacityError(
                f"shares of {len(self.plan.cards)} cards do not add up: {asked}; see: tiktok-ray plan"
            )

    def _create(self, name: str) -> Any:
        shape: dict[str, Any] = {"num_cpus": 0, "max_restarts": RESTARTS, "max_concurrency": 1}
        shape |= self._where
        if self.detached:
            called = self.actor_name(name)
            if (found := _living(called)) is not None:
                self._attached.add(name)
                return found
            shape |= {"name": called, "namespace": NAMESPACE, "lifetime": "detached"}
        if name == DECODER:
            return ray.remote(DecoderActor).options(**shape).remote(self.settings.decoder_gib)
        assignment = self.plan.assignments[name]
        analyzer = self.graph.analyzers[name]
        options = options_for(name, self.graph, self.settings)
        actor = ray.remote(AnalyzerActor).options(num_gpus=assignment.gpu_share, **shape)
        log_file = logs.log_file(self.settings.home) if self.detached else None
        return actor.remote(analyzer, options, assignment, log_file)

    def _names(self) -> set[str]:
        return {self.actor_name(name) for name in (DECODER, *self.plan.assignments)}

    def actor_name(self, name: str) -> str:
        """What a detached actor is called: its analyzer, and a hash of all it was made from."""
        if name == DECODER:
            made_of: list[Any] = [_code("media/__init__.py"), self.settings.decoder_gib]
        else:
            a = self.plan.assignments[name]
            options = options_for(name, self.graph, self.settings)
            files = {key: str(path) for key, path in a.files.items()}
            made_of = [
                _code("run/worker.py"),
                self.graph.digests[name],
                options.model_dump(mode="json"),
            ]
            made_of += [a.variant.name, a.device, a.card, a.gpu_share, a.missing, files]
        made_of += [ray.__version__, sys.version]
        text = json.dumps(made_of, sort_keys=True, default=str)
        return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    async def decode(self, path: Path, want: Collection[str]) -> Tracks:
        await self.start(())
        names = sorted(want)
        limit = self.settings.decode_timeout_s
        async with self._locks[DECODER]:
            await self._wait_ready(DECODER)
            method = self._actors[DECODER].decode.options(num_returns=1 + len(names))
            refs = method.remote(str(path), names, self.settings)
            first, *rest = refs if names else [refs]
            try:
                done, present = await self._reply(DECODER, first, limit)
            except CallFailed as failed:
                raise CapacityError(f"the tracks could not be transferred: {failed}") from None
        handles = dict(zip(names, rest, strict=True))
        return tracks_of(done, {name: handles[name] for name in present})

    def loading(self, name: str) -> tuple[str, float]:
        return name, self.graph.urgency[name]

    def copies(self, name: str) -> int:
        return 1

    def has_loaded(self, name: str) -> bool:
        """Whether the model was loaded, as far as is known: its process may have died since."""
        return name in self._loaded

    async def load(self, name: str) -> Reply:
        """What was replied when it was loaded; it is not asked again unless another machine runs its model.
        A process that has died since is met by ``run``."""
        elsewhere = self.plan.assignments[name].variant.elsewhere
        known = None if elsewhere else self._loaded.get(name)
        if known is not None:
            return replace(known, seconds=0.0)
        async with self._locks[name]:
            return await self._load(name)

    async def _load(self, name: str) -> Reply:
        await self._wait_ready(name)
        ref = self._actors[name].load.remote(logs.correlation.get())
        limit = self.settings.load_timeout_s
        reply = await self._answer(name, ref, limit, wanted_by_others=True)
        if reply.status == "ok":
            self._loaded[name] = reply
        elif reply.exhausted:
            self._restart(name)
        return reply

    async def _wait_ready(self, name: str) -> None:
        """Until the actor's process is up. Raises ``CapacityError`` past the deadline."""
        if name in self._ready:
            return
        if name in self._attached:
            await self._drain(name)
        limit = self.settings.start_timeout_s
        deadline = time.monotonic() + limit
        while True:
            ready = self._actors[name].__ray_ready__.remote()
            try:
                await _within(deadline - time.monotonic(), ready)
                break
            except TimeoutError:
                share = self.plan.assignments[name].gpu_share if name != DECODER else 0.0
                free = await asyncio.to_thread(ray.available_resources)
                raise CapacityError(
                    f"{name} could not be placed within {limit:.0f} s; it requests "
                    f"{share} of a GPU, free: {free.get('GPU', 0)}"
                ) from None
            except exceptions.ActorUnavailableError:
                await asyncio.sleep(RESTART_STEP_S)
            except exceptions.RayError as error:
                raise self._died(name, error) from None
        self._ready.add(name)

    async def _drain(self, name: str) -> None:
        """Wait for an actor that another owner left; one that stays busy is replaced."""
        self._attached.discard(name)
        actor = self._actors[name]
        try:
            facts = await _within(self.settings.drain_s, actor.facts.remote())
        except TimeoutError:
            self._restart(name)
        except exceptions.RayError as error:
            self._died(name, error)
        else:
            if facts.get("loaded"):
                self._loaded[name] = None

    async def run(self, name: str, inputs: Mapping[str, Any], timeout_s: float) -> Reply:
        async with self._locks[name]:
            if name not in self._loaded:
                reply = await self._load(name)
                if reply.status != "ok":
                    return reply
            ref = self._actors[name].run.remote(
                list(inputs), *inputs.values(), correlation=logs.correlation.get()
            )
            result = await self._answer(name, ref, timeout_s)
            if result.exhausted:
                self._restart(name)
            return result

    async def _answer(self, name: str, ref: Any, limit_s: float, **more: bool) -> Reply:
        """A worker's reply, also to a call that raised where it should have replied."""
        try:
            reply: Reply = await self._reply(name, ref, limit_s, **more)
        except CallFailed as failed:
            return failed.reply
        return reply

    async def _reply(
        self, name: str, ref: Any, limit_s: float, *, wanted_by_others: bool = False
    ) -> Any:
        """What a call returns. Its actor is replaced when it is late, dead or no longer wanted.

        A load that one video no longer wants goes on: the next video wants it.
        """
        try:
            return await _within(limit_s, ref)
        except TimeoutError:
            self._restart(name)
            raise
        except asyncio.CancelledError:
            if not wanted_by_others:
                self._restart(name)
            raise
        except exceptions.RayTaskError as error:
            raise CallFailed(failure(error.cause, "")) from None
        except exceptions.RayError as error:
            raise self._died(name, error) from None

    def _restart(self, name: str) -> None:
        self._forget(name)
        if name in self._actors:
            with contextlib.suppress(exceptions.RayError, ValueError):
                ray.kill(self._actors[name], no_restart=False)

    def _died(self, name: str, error: Exception) -> WorkerDied:
        self._forget(name)
        if isinstance(error, exceptions.ActorDiedError):
            self._actors[name] = self._create(name)
        return WorkerDied(f"{type(error).__name__}: {plain(str(error))}"[:300])

    def _forget(self, name: str) -> None:
        self._ready.discard(name)
        self._loaded.pop(name, None)

    async def facts(self) -> dict[str, dict[str, Any]]:
        """What each actor's process is and sees, by name."""
        return {
            name: await _within(30, actor.facts.remote()) for name, actor in self._actors.items()
        }

    async def close(self) -> None:
        """Release all resources; detached actors stay for the next owner."""
        self._actors.clear()
        self._forget_all()
        if not self.detached:
            await asyncio.to_thread(ray.shutdown)

    def _forget_all(self) -> None:
        self._ready.clear()
        self._loaded.clear()


def remove_actors(except_for: Collection[str] = ()) -> list[str]:
    """Kill every detached actor of a fleet except those named; returns the names of the killed ones."""
    gone = []
    for entry in ray.util.list_named_actors(all_namespaces=True):
        name = entry["name"]
        if entry["namespace"] == NAMESPACE and name not in except_for:
            actor = _living(name)
            if actor is not None:
                ray.kill(actor, no_restart=True)
                gone.append(name)
    return gone


def plain(words: str) -> str:
    """The first line of what Ray says, without colours and the names of processes."""
    lines = [line.strip() for line in COLOUR.sub("", words).splitlines() if line.strip()]
    return re.sub(r"^ray::\S+ \(.*?\)\s*", "", lines[0]) if lines else "no message"


def _living(called: str) -> Any | None:
    """The detached actor of that name, or None."""
    try:
        return ray.get_actor(called, namespace=NAMESPACE)
    except ValueError:
        return None


@functools.cache
def _code(module: str) -> str:
    """Hash of the code that an actor runs beside its analyzer: this file, and what ``module`` is."""
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    return own + code_digest(Path(__file__).parents[1] / module)


async def _within(seconds: float, ref: Any) -> Any:
    """What a call returns. Raises ``TimeoutError``.

    Not by ``asyncio.wait_for``: that of Python 3.11 loses a cancellation that comes with the value.
    """
    async with asyncio.timeout(seconds):
        return await asyncio.wrap_future(ref.future())
