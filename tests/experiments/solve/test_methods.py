import importlib
import inspect

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
    for question in method.claims:  # a name may stand for two modules, one for formulas
        rows = [one for one in methods.METHODS if question in one.claims]
        assert len({one.name for one in rows}) == len(rows)


LIMITS = ["seed", "timeout", "memory"]


@pytest.mark.parametrize("method", methods.METHODS, ids=lambda method: method.name)
def test_modules_answer_as_their_rows_say(method):
    module = importlib.import_module(method.module)
    own = {method.decoded if method.decoded and one == "maximize" else one for one in method.claims}
    found = {question for question in QUESTIONS if hasattr(module, question)}
    assert found == own
    for question in own:
        _, *others = inspect.signature(getattr(module, question)).parameters
        assert others[:3] == LIMITS
        options = set(method.options) if question == "count" else set(method.quick)
        assert options | (set(method.patient) if question != "count" else set()) <= set(others)


@pytest.mark.parametrize("method", methods.METHODS, ids=lambda method: method.name)
def test_options_that_users_know_are_in_the_row(method):
    if "count" in method.claims:
        entry = importlib.import_module(method.module).count
        known = {"epsilon", "delta", "assumptions", "reduce", "checkpoint", "executor"}
        assert set(inspect.signature(entry).parameters) & known <= set(method.options)


WEIGHTLESS = [one.name for one in methods.METHODS if "no weights" in one.formulas]


@pytest.mark.parametrize("name", WEIGHTLESS)
def test_what_takes_no_weights_says_so_in_a_line(name):
    with pytest.raises(ValueError, match="expected .*(no|without) weights") as raised:
        solve.count([[1, 2]], method=name, weights={1: 0.5})
    assert "\n" not in str(raised.value)
