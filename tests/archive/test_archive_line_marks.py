"""What is said of a file's lines does not depend on how its bytes come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from Agent.archive.sealed.part_file import ODD_BYTES, LineMarks

PIECES = st.one_of(
    st.binary(max_size=12),
    st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [b"\n", b"\r", b"\x00", b"\x02", b"\x03", b"\t", b'{"a":1}', b"plain text of more than eight bytes"]
    ),
    st.sampled_from(
        [b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5"]
    ),
    st.sampled_from(["ü€😀".encode()[:size] for size in range(1, 10)]),
)


def told(chunks: list[bytes]) -> tuple[int, bool, bool]:
    marks = LineMarks()
    for chunk in chunks:
        marks.take(chunk)
    return marks.lines, marks.ends_with_newline, marks.is_odd


def is_odd(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return any(byte in data for byte in ODD_BYTES)


@given(pieces=st.lists(PIECES, max_size=8), size=st.integers(1, 40))
def test_lines_are_counted_and_odd_bytes_seen_however_the_bytes_come(pieces, size):
    data = b"".join(pieces)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    found = told(chunks)
    lines = data.count(b"\n") + (1 if data and not data.endswith(b"\n") else 0)
    assert found == (lines, data.endswith(b"\n"), is_odd(data))


def test_each_byte_alone_is_odd_or_not_as_python_says():
    for byte in range(256):
        assert told([bytes([byte])])[2] == is_odd(bytes([byte])), byte


@given(lines=st.lists(st.integers(0, 30), min_size=1, max_size=6), size=st.integers(1, 20))
def test_no_line_is_longer_than_a_chunk_or_what_is_said_of_the_longest(lines, size):
    data = b"".join(b"x" * length + b"\n" for length in lines)
    marks = LineMarks()
    for at in range(0, len(data), size):
        marks.take(data[at : at + size])
    assert max(lines) <= max(size, marks.longest)
    assert marks.longest <= max(lines)
