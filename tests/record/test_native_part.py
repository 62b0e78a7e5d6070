"""Which built part is used."""

import os

from Agent.record.encode.native import is_older_than_sources


def test_a_part_that_is_older_than_a_source_is_not_used(tmp_path):
    built, source = tmp_path / "_native.so", tmp_path / "_calls.h"
    built.touch()
    assert not is_older_than_sources(str(built)), "a wheel has no sources"
    source.touch()
    os.utime(built, ns=(2_000, 2_000))
    os.utime(source, ns=(1_000, 1_000))
    assert not is_older_than_sources(str(built))
    os.utime(source, ns=(3_000, 3_000))
    assert is_older_than_sources(str(built))
