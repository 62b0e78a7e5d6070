"""A database for each test: SQLite in a file, and a real PostgreSQL where one can be started."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from support.databases import PostgresServer, postgres_server

_numbers = itertools.count(1)


@pytest.fixture
def postgres() -> PostgresServer:
    return postgres_server()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'service.db'}"
    return postgres_server().make_database(f"store_{next(_numbers)}")
