"""The cache of outputs: what goes in comes out, or nothing does; and it keeps to its size."""

import errno
import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import Count, Sum
from tiktok_ray.run.cache import DiskCache


def key(number, name="plain"):
    return f"{name}-{number:032x}"


def test_what_goes_in_comes_out(tmp_path):
    cache = DiskCache(tmp_path, 10_000)
    assert cache.get(key(1), Count) is None
    cache.put(key(1), Count(n=7))
    assert cache.get(key(1), Count) == Count(n=7)
    assert DiskCache(tmp_path, 10_000).get(key(1), Count) == Count(n=7), "it outlives its process"
    assert (cache.hits, cache.misses) == (1, 1)


def test_what_cannot_be_read_back_is_computed_again(tmp_path):
    cache = DiskCache(tmp_path, 10_000)
    cache.put(key(1), Count(n=7))
    (tmp_path / f"{key(1)}.json").write_text('{"n": ')
    assert cache.get(key(1), Count) is None
    assert not (tmp_path / f"{key(1)}.json").exists()
    assert cache.total_bytes == 0
    cache.put(key(2), Sum(n=None))
    assert cache.get(key(2), Count) is None, "another type is no such output"


def test_what_was_read_last_stays(tmp_path):
    size = len(Count(n=1).model_dump_json())
    cache = DiskCache(tmp_path, 3 * size)
    for k in range(3):
        cache.put(key(k), Count(n=k))
    cache.get(key(0), Count)
    cache.put(key(3), Count(n=3))
    kept = [k for k in range(4) if cache.get(key(k), Count)]
    assert kept == [0, 2, 3]


def test_the_order_outlives_the_process(tmp_path):
    size = len(Count(n=1).model_dump_json())
    cache = DiskCache(tmp_path, 3 * size)
    for k in range(3):
        cache.put(key(k), Count(n=k))
        os.utime(tmp_path / f"{key(k)}.json", (100 - k, 100 - k))
    again = DiskCache(tmp_path, 2 * size)
    assert [k for k in range(3) if again.get(key(k), Count)] == [0, 1]


def test_what_is_larger_than_the_cache_is_not_kept(tmp_path):
    cache = DiskCache(tmp_path, 3)
    cache.put(key(1), Count(n=7))
    assert cache.get(key(1), Count) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", ["../x-" + "0" * 32, "plain", "plain-xyz", "a/b-" + "0" * 32, ""])
def test_no_key_leads_out_of_the_folder(tmp_path, bad):
    with pytest.raises(ValueError, match="not a cache key"):
        DiskCache(tmp_path, 100).put(bad, Count(n=1))


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 10**9)), min_size=1, max_size=40
    ),
    st.integers(0, 60),
)
@settings(max_examples=40, deadline=None)
def test_it_keeps_to_its_size_and_never_lies(tmp_path_factory, steps, limit):
    folder = tmp_path_factory.mktemp("cache")
    cache, put = DiskCache(folder, limit), {}
    for write, k, n in steps:
        if write:
            cache.put(key(k), Count(n=n))
            put[k] = n
        else:
            found = cache.get(key(k), Count)
            assert found in (None, Count(n=put.get(k, -1)))
        on_disk = sum(p.stat().st_size for p in folder.iterdir())
        assert on_disk == cache.total_bytes <= limit


def test_what_the_disk_does_not_take_is_not_kept_and_fails_nothing(tmp_path, monkeypatch):
    cache = DiskCache(tmp_path, 10_000)
    cache.put(key(1), Count(n=1))

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("builtins.open", lambda path, *_, **__: path.touch() or Full())
        cache.put(key(2), Count(n=2))
    assert cache.get(key(2), Count) is None
    assert cache.get(key(1), Count) == Count(n=1)
    assert cache.facts()["failures"] == 1
    assert [p.suffix for p in tmp_path.iterdir()] == [".json"], "no half file is left"


def test_what_cannot_be_read_is_computed_again(tmp_path):
    cache = DiskCache(tmp_path, 10_000)
    (tmp_path / f"{key(1)}.json").mkdir()
    assert cache.get(key(1), Count) is None


def test_it_can_be_emptied(tmp_path):
    cache = DiskCache(tmp_path, 10_000)
    for k in range(3):
        cache.put(key(k), Count(n=k))
    (tmp_path / "left.part").write_text("half")
    assert cache.empty() > 0
    assert cache.total_bytes == 0
    assert list(tmp_path.iterdir()) == []
