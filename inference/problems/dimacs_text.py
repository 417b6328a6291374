"""The lines of a DIMACS file, and where they stand if one is wrong; ``dimacs`` reads them.

>>> special, body = split(Text("f.cnf", b"p cnf 2 1\\n1 -2 0\\n"))
>>> special["header"], body.split()
([Line(position=0, fields=[b'p', b'cnf', b'2', b'1'])], [b'1', b'-2', b'0'])
"""

import re
import warnings
from typing import NamedTuple

from inference import files

HEADER = "'p cnf VARIABLES CLAUSES'"
INTEGER = re.compile(rb"\d{1,18}|-[1-9]\d{0,17}")
_SPECIAL_LINE = re.compile(rb"^[^\S\n]*[^\s\d-].*", re.MULTILINE)


class DimacsWarning(UserWarning):
    """A fault in a file that does not change its meaning."""


class Line(NamedTuple):
    """A line that is not made of clauses: where it starts and its fields, keywords left out."""

    position: int
    fields: list[bytes]


Special = dict[str, list[Line]]  # lines that are not clauses, by kind


class Text:
    """The bytes of a file and its name, for messages with line numbers."""

    def __init__(self, name: str, data: bytes):
        self.name, self.data = name, data
        if b"\r\n" in data:
            self.warn(data.find(b"\r\n"), "expected lines that end in LF, given CRLF")
            self.data = data.replace(b"\r\n", b"\n")
        if not self.data or self.data.isspace():
            raise self.error(0, f"a line {HEADER}", "an empty file")
        if b"\0" in self.data:
            raise self.error(self.data.find(b"\0"), "text", "binary data")
        if self.data.split(None, 1)[0] in (b"MARKOV", b"BAYES"):
            verbs = "which `tally partition`, `marginals` and `map` take"
            raise self.error(0, f"a line {HEADER}", f"a UAI model, {verbs}")

    def error(self, position: int, expected: str, given: str | bytes) -> files.ParseError:
        """What to raise about a position."""
        place = self.place(position)
        return files.ParseError(f"{place}: expected {expected}, given {_shown(given)}")

    def warn(self, position: int, message: str) -> None:
        warnings.warn(f"{self.place(position)}: {message}", DimacsWarning, stacklevel=3)

    def place(self, position: int) -> str:
        line = self.data.count(b"\n", 0, position) + 1
        return f"{self.name}:{line}"

    def is_last_line(self, position: int) -> bool:
        end = self.data.find(b"\n", position)
        return end < 0 or self.data[end:].isspace()


def _shown(given: str | bytes) -> str:
    if isinstance(given, str):
        return given
    text = given.decode("ascii", "backslashreplace")
    return repr(text if len(text) <= 40 else text[:37] + "...")


def split(text: Text) -> tuple[Special, bytes]:
    """The lines that are not clauses, by kind, and the rest with those lines blanked."""
    kinds = ("header", "xor", "w", "ind", "show", "weight", "weights", "name")
    special: Special = {kind: [] for kind in kinds}

    def take(match: re.Match[bytes]) -> bytes:
        kind, fields = _kind(match.group())
        if kind == "unknown":
            expected = f"a clause, a comment, an XOR or {HEADER}"
            raise text.error(match.start(), expected, b" ".join(fields))
        if kind in special:
            special[kind].append(Line(match.start(), fields))
        return b" " * len(match.group())  # so that positions stay

    return special, _SPECIAL_LINE.sub(take, _before_end_mark(text))


def _kind(line: bytes) -> tuple[str, list[bytes]]:
    head = line.split(None, 3)
    if head[0] == b"c":
        return _comment(line, head)
    if head[0] == b"p":
        return "header", line.split()
    if head[0] == b"w":
        return "w", line.split()[1:]
    if head[0].startswith(b"x"):
        return "xor", line.strip()[1:].split()
    return ("comment", []) if head[0].startswith(b"c") else ("unknown", line.split())


def _comment(line: bytes, head: list[bytes]) -> tuple[str, list[bytes]]:
    if len(head) == 3 and head[1].rstrip(b"$").isdigit():
        return "name", head[1:]
    if len(head) > 1 and head[1] in (b"ind", b"weights"):
        return head[1].decode(), line.split()[2:]
    if len(head) > 2 and head[1] == b"p" and head[2] in (b"show", b"weight"):
        return head[2].decode(), line.split()[3:]
    return "comment", []


def _before_end_mark(text: Text) -> bytes:
    # SATLIB's uniform random formulas end in a line "%", a line "0" and an empty line.
    has_mark = b"%" in text.data  # found at once, where the expression takes a tenth of the time
    mark = re.search(rb"^[^\S\n]*%", text.data, re.MULTILINE) if has_mark else None
    if mark is None:
        return text.data
    rest = text.data[mark.end() :].strip()
    if rest not in (b"", b"0"):
        raise text.error(mark.start(), "nothing after the end mark '%'", rest.split(b"\n")[0])
    text.warn(mark.start(), "expected no end mark, given '%'")
    return text.data[: mark.start()]


def integers(text: Text, line: Line) -> list[int]:
    """The integers before the final 0 of a line."""
    fields = line.fields
    for field in fields:
        if not INTEGER.fullmatch(field):
            raise text.error(line.position, "integers and a final 0", field)
    if fields[-1:] != [b"0"]:
        if not text.is_last_line(line.position):
            raise text.error(line.position, "a final 0", b" ".join(fields))
        text.warn(line.position, "expected a final 0, given none")
        fields = [*fields, b"0"]
    numbers = [int(field) for field in fields[:-1]]
    if 0 in numbers:
        raise text.error(line.position, "one 0, at the end of the line", b" ".join(fields))
    return numbers


def in_range(what: str, n: int) -> str:
    """What is expected of a literal or a variable."""
    return f"{what} of the variables 1..{n}"
