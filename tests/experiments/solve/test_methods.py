import pytest

from experiments import solve
from experiments.solve import methods

QUESTIONS = tuple(methods.AUTO)


def test_lines_say_what_is_claimed_and_needed():
    lines = methods.lines("count")
    assert list(lines)[:3] == ["auto", "exact", "ganak"]
    assert lines["exact"] == "the same as ganak"
    assert lines["exhaustive"] == "certain, by enumeration; up to 26 variables"
    assert "trw" not in lines and "ganak" not in methods.lines("marginals")
    assert all(name in methods.lines("maximize") for name in ("gbp", "trw", "exhaustive"))


def test_names_are_found():
    assert methods.find("count", "auto") is None
    assert methods.find("count", "exact").name == "ganak"
    with pytest.raises(ValueError, match="a method among auto, elimination, .* given 'ganak'"):
        methods.find("marginals", "ganak")


@pytest.mark.parametrize("method", methods.METHODS, ids=lambda method: method.name)
def test_rows_are_whole(method):
    assert method.claims and set(method.claims) <= set(QUESTIONS)
    assert set(method.draws) <= set(method.claims)
    assert method.decoded in ("", "marginals", "maximize")
    assert len({one.name for one in methods.METHODS}) == len(methods.METHODS)


WEIGHTLESS = [one.name for one in methods.METHODS if "no weights" in one.formulas]


@pytest.mark.parametrize("name", WEIGHTLESS)
def test_what_takes_no_weights_says_so_in_a_line(name):
    with pytest.raises(ValueError, match="expected .*(no|without) weights") as raised:
        solve.count([[1, 2]], method=name, weights={1: 0.5})
    assert "\n" not in str(raised.value)
