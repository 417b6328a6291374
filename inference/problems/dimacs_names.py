"""Names of variables in DIMACS files: comments ``c NUMBER NAME``, as feature models have them.

>>> text = dimacs_text.Text("f.cnf", b"c 1 ROOT\\nc 2$ _X1\\nc 3 clauses by hand\\np cnf 2 0\\n")
>>> read(dimacs_text.split(text)[0], 2)
{1: 'ROOT', 2: '_X1'}

A comment is free text, so only what can hardly be meant otherwise is taken for a name: the number
of a variable, one word, and nothing else. Some writers put ``$`` after the numbers of variables
they made themselves. No comment makes a file unreadable.
"""

from inference.problems import cnf
from inference.problems.dimacs_text import Special


def read(special: Special, n: int) -> dict[int, str]:
    """The names of variables 1..n, by variable.

    A variable with two names, or a name of two variables, is left without: whichever were kept, a
    literal given by name could then silently be another than the one that was meant.
    """
    names: dict[int, str] = {}
    owners: dict[str, int] = {}
    doubtful: set[int] = set()
    for _, (number, word) in special["name"]:
        digits, name = number.rstrip(b"$"), word.decode("utf-8", "backslashreplace")
        if len(digits) > 9 or not 1 <= (variable := int(digits)) <= n:
            continue
        if not cnf.NAME.fullmatch(name):
            continue
        owner = owners.setdefault(name, variable)
        if owner != variable or names.setdefault(variable, name) != name:
            doubtful |= {variable, owner}
    return {v: name for v, name in names.items() if v not in doubtful}
