"""Files: hashed, named safely, and written whole or not at all."""

import os
import stat

import pytest

from tiktok_ray.files import digest_of, owner_only, replacing, safe_name, sha256_of, write_whole


def test_a_file_is_hashed(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    # FIPS 180-2 and RFC 1321 print these.
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_of(path, "md5") == "900150983cd24fb0d6963f7d28e17f72"


@pytest.mark.parametrize(
    ("text", "name"),
    [("a-b_9", "a-b_9"), ("../etc", "___etc"), ("a b/c.mp4", "a_b_c_mp4"), ("größe", "größe")],
)
def test_a_name_is_safe(text, name):
    assert safe_name(text) == name


def test_what_is_written_is_whole(tmp_path):
    path = tmp_path / "new" / "f.txt"
    assert write_whole(path, "größer") == path
    assert path.read_text("utf-8") == "größer"
    write_whole(path, "again")
    assert path.read_text() == "again"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt()])
def test_what_fails_leaves_what_was_there_and_no_part(tmp_path, error):
    path = tmp_path / "f.txt"
    path.write_text("before")

    def write_half():
        with replacing(path, ".part.txt") as part:
            part.write_text("half")
            assert part.parent == path.parent
            assert part.name.endswith(".part.txt")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_is_its_owners_alone(tmp_path):
    before = os.umask(0)
    try:
        with open(tmp_path / "f", "w", opener=owner_only) as file:
            file.write("secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600
