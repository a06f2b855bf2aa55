"""Fixtures that every test shares."""

import os
from pathlib import Path

import pytest


def _folder(variable: str) -> Path:
    place = os.environ.get(variable)
    if not place or not Path(place).is_dir():
        pytest.skip(f"{variable} names no folder on this machine")
    return Path(place)


@pytest.fixture(scope="session")
def real_media() -> Path:
    """The folder of real clips with known truth."""
    return _folder("TIKTOK_RAY_TEST_MEDIA")


@pytest.fixture(scope="session")
def real_models() -> Path:
    """The folder of real weights."""
    return _folder("TIKTOK_RAY_MODELS")
