"""The ledger: accepted on disk, executed to one end, never lost, and poison given up."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tiktok_ray.serve.database import NewerRecords, set_aside, trouble
from tiktok_ray.serve.jobs import (
    ENDED,
    POISON,
    RETRIES_S,
    SCHEMA,
    KeyReused,
    Lease,
    Ledger,
    QueueFull,
    Request,
)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(tmp_path, clock):
    made = Ledger(tmp_path / "jobs.sqlite", clock)
    yield made
    made.close()


def accept(ledger, id, **more):
    return ledger.accept(id, Request(url=f"https://x/{id}"), digest=f"d-{id}", **more)


def die(ledger, id):
    """An attempt at the job ends with the death of its process."""
    claimed = ledger.claim(alone=True)
    assert claimed.id == id
    return ledger.recover()


def test_a_job_goes_its_way(ledger, clock):
    job, new = accept(ledger, "a")
    assert new
    assert job.state == "queued"
    clock.now += 5
    claimed = ledger.claim(alone=False)
    assert (claimed.id, claimed.state, claimed.attempts, claimed.started) == (
        "a",
        "running",
        1,
        1005,
    )
    assert ledger.claim(alone=False) is None
    assert ledger.finish("a", "done", result="a")
    assert not ledger.finish("a", "failed"), "a job ends once"
    ended = ledger.get("a")
    assert (ended.state, ended.result, ended.ended) == ("done", "a", 1005)
    assert [e.data["state"] for e in ledger.events("a")] == ["queued", "running", "done"]


def test_the_oldest_goes_first(ledger):
    for id in "abc":
        accept(ledger, id)
    assert [ledger.ahead(id) for id in "abc"] == [0, 1, 2]
    assert [ledger.claim(alone=False).id for _ in range(3)] == ["a", "b", "c"]
    assert ledger.ahead("a") is None


def test_a_key_gives_the_same_job(ledger):
    first, _ = ledger.accept("a", Request(url="u"), digest="1", key="k")
    again, new = ledger.accept("b", Request(url="u"), digest="1", key="k")
    assert (again.id, new) == (first.id, False)
    assert ledger.get("b") is None
    with pytest.raises(KeyReused):
        ledger.accept("c", Request(url="v"), digest="2", key="k")
    assert ledger.get("c") is None


def test_a_key_gives_the_same_job_when_the_queue_is_full(ledger):
    ledger.accept("a", Request(url="u"), digest="1", key="k", room=1)
    again, new = ledger.accept("b", Request(url="u"), digest="1", key="k", room=1)
    assert (again.id, new) == ("a", False)


def test_the_queue_has_a_bound(ledger):
    accept(ledger, "a", room=2)
    accept(ledger, "b", room=2)
    ledger.claim(alone=False)
    with pytest.raises(QueueFull):
        accept(ledger, "c", room=2)
    ledger.finish("a", "failed")
    accept(ledger, "c", room=2)


def test_a_death_runs_the_job_again_and_the_third_gives_it_up(ledger):
    accept(ledger, "a")
    for deaths in range(1, POISON):
        again, given_up = die(ledger, "a")
        assert ([j.id for j in again], given_up) == (["a"], [])
        assert ledger.get("a").deaths == deaths
    claimed = ledger.claim(alone=True)
    ledger.record([("a", 1.0, "analyzer", {"name": "early", "state": "running"})])
    ledger.record([("a", 1.1, "analyzer", {"name": "early", "state": "ok"})])
    ledger.record([("a", 1.2, "analyzer", {"name": "culprit", "state": "running"})])
    again, given_up = ledger.recover()
    assert again == []
    [job] = given_up
    assert job.state == "quarantined"
    assert claimed.attempts == POISON
    assert "died 3 times" in job.problem["detail"]
    assert "culprit" in job.problem["detail"]
    assert "early" not in job.problem["detail"]
    assert ledger.claim(alone=True) is None


def test_a_suspect_runs_only_alone(ledger):
    accept(ledger, "a")
    die(ledger, "a")
    die(ledger, "a")
    accept(ledger, "b")
    assert ledger.claim(alone=False) is None, "nothing overtakes the suspect, and it waits"
    assert ledger.claim(alone=True).id == "a"


def test_a_stop_is_no_death(ledger):
    accept(ledger, "a")
    ledger.claim(alone=True)
    ledger.release("a")
    job = ledger.get("a")
    assert (job.state, job.deaths, job.attempts) == ("queued", 0, 0)


def test_cancelling(ledger):
    accept(ledger, "a")
    accept(ledger, "b")
    assert ledger.cancel("b").state == "cancelled"
    ledger.claim(alone=False)
    assert ledger.cancel("a").cancelling
    assert ledger.cancelling() == ["a"]
    ledger.finish("a", "cancelled")
    assert ledger.cancelling() == []
    assert ledger.cancel("a").state == "cancelled"
    assert ledger.cancel("nobody") is None


def test_one_that_was_being_cancelled_when_its_process_died_does_not_come_back(ledger):
    accept(ledger, "a")
    ledger.claim(alone=False)
    ledger.cancel("a")
    ledger.recover()
    assert ledger.get("a").state == "cancelled"


def test_events_are_numbered_without_gaps_and_resume(ledger):
    accept(ledger, "a")
    ledger.claim(alone=False)
    for k in range(5):
        ledger.record([("a", float(k), "phase", {"k": k}), ("nobody", 0.0, "phase", {})])
    ledger.finish("a", "done")
    ledger.record([("a", 9.0, "phase", {"late": True})])
    entries = ledger.events("a")
    assert [e.n for e in entries] == list(range(1, 9))
    assert entries[-1].data["state"] == "done", "nothing follows the end"
    assert [e.n for e in ledger.events("a", after=5)] == [6, 7, 8]
    assert ledger.events("a", after=10**18) == []


def test_pages(ledger):
    for k in range(5):
        accept(ledger, f"j{k}")
    first, more = ledger.page(limit=2)
    assert [j.id for j in first] == ["j4", "j3"]
    second, more = ledger.page(limit=2, before=more)
    assert [j.id for j in second] == ["j2", "j1"]
    last, end = ledger.page(limit=2, before=more)
    assert ([j.id for j in last], end) == (["j0"], None)
    ledger.claim(alone=False)
    assert [j.id for j in ledger.page(state="running")[0]] == ["j0"]
    assert ledger.counts()["queued"] == 4


def test_webhooks_are_tried_again_and_given_up(ledger, clock):
    ledger.accept("a", Request(url="u", webhook="https://hook"), digest="1")
    ledger.claim(alone=True)
    assert ledger.due() == []
    ledger.finish("a", "done", result="a")
    tries = 0
    while due := ledger.due():
        assert due[0].job.result == "a"
        assert due[0].tries == tries
        ledger.delivered("a", "it answered 500")
        tries += 1
        if tries <= len(RETRIES_S):
            assert ledger.due() == [], "not at once"
            clock.now += RETRIES_S[tries - 1]
    assert tries == 1 + len(RETRIES_S)
    assert ledger.outcome("a") == "gave up: it answered 500"


def test_a_delivered_webhook_is_not_sent_again(ledger):
    ledger.accept("a", Request(url="u", webhook="https://hook"), digest="1")
    ledger.claim(alone=True)
    ledger.finish("a", "done")
    ledger.delivered("a")
    assert ledger.due() == []
    assert ledger.outcome("a") == "delivered"


def test_old_jobs_are_forgotten_with_their_events(ledger, clock):
    accept(ledger, "a")
    accept(ledger, "open")
    ledger.claim(alone=True)
    ledger.finish("a", "done")
    clock.now += 100
    assert ledger.prune(before=1050) == 1
    assert ledger.get("a") is None
    assert ledger.events("a") == []
    assert ledger.get("open").state == "queued"


def test_what_was_accepted_survives_a_kill(tmp_path):
    """The process is killed the moment ``accept`` returns; the job is there."""
    code = f"""
        import os, signal
        from pathlib import Path
        from tiktok_ray.serve.jobs import Ledger, Request
        ledger = Ledger(Path({str(tmp_path / "jobs.sqlite")!r}))
        ledger.accept("a", Request(url="u"), digest="1")
        ledger.claim(alone=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)])
    assert done.returncode == -signal.SIGKILL
    ledger = Ledger(tmp_path / "jobs.sqlite")
    again, _ = ledger.recover()
    assert [job.id for job in again] == ["a"]
    ledger.close()


def test_one_process_has_the_lease_until_it_dies(tmp_path):
    path = tmp_path / "lock"
    code = f"""
        import sys, time
        from pathlib import Path
        from tiktok_ray.serve.jobs import Lease
        lease = Lease(Path({str(path)!r}))
        print(lease.acquire(), flush=True)
        time.sleep(60)
    """
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "True"
        mine = Lease(path)
        assert not mine.acquire()
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert mine.acquire()
        assert mine.held
        assert mine.acquire(), "taking it again changes nothing"
        mine.give_back()
        assert not mine.held
        assert Lease(path).acquire()
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("damage", ["junk", "cut", "another"])
def test_a_broken_ledger_is_set_aside_and_a_new_one_begun(tmp_path, damage):
    path = tmp_path / "jobs.sqlite"
    first = Ledger(path)
    for k in range(100):
        first.accept(f"{k:024x}", Request(url="http://x/"), digest="d")
    first.close()
    if damage == "junk":
        path.write_bytes(b"this is not a database" * 100)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("ALTER TABLE jobs RENAME COLUMN deaths TO lives")
    assert trouble(path, SCHEMA)
    again = Ledger(path)
    assert again.open_jobs() == 0
    assert len(set_aside(tmp_path)) == 1
    assert trouble(path, SCHEMA) is None


def test_a_newer_ledger_is_left_alone(tmp_path):
    path = tmp_path / "jobs.sqlite"
    Ledger(path).close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(NewerRecords, match="newer version"):
        Ledger(path)
    assert set_aside(tmp_path) == []


def test_an_entry_that_cannot_be_read_ends_and_holds_nothing_up(ledger, tmp_path):
    for k in range(2):
        ledger.accept(f"{k:024x}", Request(url="http://x/"), digest="d")
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE jobs SET request = '{ broken' WHERE id = ?", (f"{0:024x}",))
    assert [job.id for job in ledger.page()[0]] == [f"{1:024x}", f"{0:024x}"]
    assert ledger.claim(alone=True).id == f"{1:024x}"
    broken = ledger.get(f"{0:024x}")
    assert (broken.state, broken.problem["type"]) == ("failed", "urn:tiktok-ray:unreadable")


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: jobs end once, and nothing is lost."""

    def __init__(self):
        super().__init__()
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "jobs.sqlite"
        self.ledger = Ledger(self.path)
        self.known, self.ended = set(), {}

    def teardown(self):
        self.ledger.close()
        self.folder.cleanup()

    @rule(key=st.sampled_from([None, "k1", "k2"]))
    def accept(self, key):
        id = f"j{len(self.known)}"
        _, new = self.ledger.accept(id, Request(url="u"), digest="d", key=key)
        if new:
            self.known.add(id)

    @rule(alone=st.booleans())
    def claim(self, alone):
        self.ledger.claim(alone=alone)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), state=st.sampled_from(["done", "failed", "cancelled"]))
    def finish(self, data, state):
        self.ledger.finish(data.draw(st.sampled_from(sorted(self.known))), state)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def cancel(self, data):
        self.ledger.cancel(data.draw(st.sampled_from(sorted(self.known))))

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def record(self, data):
        id = data.draw(st.sampled_from(sorted(self.known)))
        self.ledger.record([(id, 0.0, "phase", {"name": "x"})])

    @rule()
    def crash(self):
        self.ledger.close()
        self.ledger = Ledger(self.path)
        self.ledger.recover()
        assert self.ledger.counts()["running"] == 0

    @invariant()
    def holds(self):
        for id in self.known:
            job = self.ledger.get(id)
            assert job is not None
            assert job.deaths <= POISON
            numbers = [e.n for e in self.ledger.events(id)]
            assert numbers == list(range(1, len(numbers) + 1))
            if id in self.ended:
                assert job.state == self.ended[id], "an end is final"
            elif job.state in ENDED:
                self.ended[id] = job.state
        assert self.ledger.open_jobs() == len(self.known) - len(self.ended)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_reading_does_not_wait_for_a_slow_disk(ledger):
    """While one thread is in the middle of a change, others read what is written."""
    ledger.accept("a" * 24, Request(url="http://x/"), digest="d")
    reading = ThreadPoolExecutor(1)
    with ledger._change() as db:
        db.execute("UPDATE jobs SET state = 'running'")
        assert ledger.get("a" * 24).state == "running"
        assert reading.submit(ledger.get, "a" * 24).result(10).state == "queued"
    assert reading.submit(ledger.get, "a" * 24).result(10).state == "running"
