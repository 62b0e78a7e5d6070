"""An S3 server on loopback for tests, where moto, s3fs and flask are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def why_no_server() -> str:
    """What is missing; empty if nothing is."""
    missing = [name for name in ("moto", "s3fs", "flask") if importlib.util.find_spec(name) is None]
    return f"{missing[0]} is not installed" if missing else ""


@contextmanager
def s3_server(bucket: str) -> Iterator[Any]:
    """fsspec's file system of a new bucket; the environment names the server within the block."""
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("ENDPOINT_URL", address), ("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s")):
            patch.setenv(f"AWS_{name}", value)
        fsspec.filesystem("s3").clear_instance_cache()
        store = fsspec.filesystem("s3")
        store.mkdir(bucket)
        yield store
    server.stop()
