"""Files: written whole or not at all, read packed or not.

>>> with whole("counts.json") as beside:
...     beside.write_text("{}")
>>> unpacked(gzip.compress(b"p cnf 0 0"), "formula.cnf")
b'p cnf 0 0'
"""

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

_UNPACK = {b"\x1f\x8b": gzip.decompress, b"\xfd7zXZ\0": lzma.decompress, b"BZh": bz2.decompress}
_BROKEN = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)


class ParseError(ValueError):
    """A file that is not as it should be, in one line: ``FILE:LINE: expected ..., given ...``."""


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
    """A path beside ``path``, which takes its place once the block is through.

    It may become a file or a folder; whatever stops the block leaves the old one as it was. The
    name ends as that of ``path``, as writers choose formats by it. A device or a pipe is written
    itself, as nothing can take its place.
    """
    target = Path(path)
    if target.exists() and not target.is_file() and not target.is_dir():
        yield target
        return
    beside = target.with_name(f".{os.getpid()}-{target.name}")
    _remove(beside)  # of a process of that number that was killed
    try:
        yield beside
        if beside.is_dir() and target.exists():
            _replace_folder(beside, target)
        else:
            beside.replace(target)
    finally:
        _remove(beside)


def _replace_folder(beside: Path, target: Path) -> None:
    """A full folder cannot be renamed onto; the old one steps aside and comes back on failure."""
    old = target.with_name(f".{os.getpid()}-old-{target.name}")
    target.rename(old)
    try:
        beside.rename(target)
    except OSError:
        old.rename(target)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Raises OSError where no file can be written into a folder: before the work, not after it."""
    with tempfile.TemporaryFile(dir=os.fspath(folder)):
        pass


def read(path: str | os.PathLike) -> bytes:
    """The octets of a file, unpacked; "-" is standard input.

    Raises:
      OSError: it cannot be read.
      ParseError: it is packed, but not whole.
    """
    data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    return unpacked(data, name(path))


def name(path: str | os.PathLike) -> str:
    """What messages call a file."""
    return "<stdin>" if path == "-" else os.fspath(path)


def unpacked(data: bytes, name: str) -> bytes:
    """Data packed by gzip, xz or bzip2, which their first octets tell, and any other as it is."""
    for magic, unpack in _UNPACK.items():
        if data.startswith(magic):
            try:
                return unpack(data)
            except _BROKEN as error:
                message = f"{name}:1: expected whole packed data, given {str(error).strip()!r}"
                raise ParseError(message) from error
    return data
