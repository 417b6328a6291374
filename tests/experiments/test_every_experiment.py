"""What holds for every experiment that `tally list` shows."""

import dataclasses
import re

import figures
import numpy as np
import pytest

from experiments.cli.verbs import run
from experiments.harness import promises, registry, store

NAMES = sorted(registry.find())
# What breaks a promise: the columns and scalars to change, and what is said then.
DOCTORED = [
    ("a_nice_mc_regression", {"mean_error": 4.1}, "errors within 4 standard errors, given 4.1"),
    ("a_nice_mc_regression", {"variance_error": 4.2}, "errors within 4 .*, given 4.2"),
    ("a_nice_mc_starts", {"mass_error": 0.2, "warnings": 0}, "nothing silently wrong .* 2 of 2"),
    ("a_nice_mc_toys", {"reference_ess": 1.0}, "reference ESS as promised, given 1 on mog2"),
    ("a_nice_mc_toys", {"modes_of_a_chain": 1}, "every mode, given 1 runs that do not"),
    ("a_nice_mc_toys", {"mass_error": 0.03}, "masses within 0.02, given an error of 0.03"),
    ("adaptive_hashing_bounds", {"violated_averaged": 1}, "averaged bounds above .* 6 of 6"),
    ("adaptive_hashing_bounds", {"lower_adaptive": 17}, "no adaptive bound above"),
    ("approxmc_accuracy", {"mean_ratio": 0.834, "mean_ratio_error": 0.016}, "a mean ratio"),
    ("approxmc_accuracy", {"under": 4}, "rounds too far under at epsilon 0.3"),
    ("approxmc_accuracy", {"over": 4}, "rounds too far over at epsilon 0.3"),
    ("approxmc_accuracy", {"inside": 5}, "intervals that miss .* given 15 of 20"),
    ("bp_benchmark", {"difference_plain": 2e-5}, "marginals within 1e-5 .* the plain kernel"),
    ("bp_benchmark", {"difference": 2e-5}, "marginals within 1e-5 .* PGMax"),
    ("bpnn_convergence", {"error": 0.01}, "converged values at most 0.0001 nats above log Z"),
    ("bpnn_counting", {"log_ganak": 3.0}, "the counts given from Ganak"),
    ("bpnn_counting", {"log_approxmc": 3.0}, "counts by ApproxMC that miss"),
    ("bpnn_counting", {"log_propagation": 30.0}, "diagnoses within half a nat"),
    ("bpnn_ising", {"most_error": 0.01}, "every value of mean field on its side"),
    ("bpnn_ising", {"least_error": -0.01}, "every value of TRW on its side"),
    ("count_benchmark", {"delta": 0.001, "contradicts": 1}, "counts by hashing that contradict"),
    ("discrete_samplers", {"mean_energy": 0.0}, "mean energies as they are exactly, given"),
    ("discrete_samplers", {"autocorrelation": 5.0}, "an exponent of Gibbs above that of"),
    ("elimination_ising", {"error": 1e-9}, "expected 6 errors as stated, given 0"),
    ("elimination_ising", {"width": 1}, "widths of at least the side, given 6 below"),
    ("feature_models", {"mismatches": 1}, "fresh counts of options to agree, given 2 others"),
    ("feature_models", {"shares": 1.01}, "shares in .0, 1., given 202 others"),
    ("feature_models", {"log2_products": 90.0}, "at most a bit an option, given 2 models above"),
    ("flat_histogram_sat", {"error": 0.2}, "pigeonhole histograms within 0.15 .* given 1 beyond"),
    ("flat_histogram_sat", {"doubted": True}, "pigeonhole histograms .* given 1 beyond or in"),
    ("flat_histogram_sat", {"standard_error": 1e-6}, "values within 5 standard errors, given"),
    ("ldpc_decoding", {"channel_error_rate": 0.2}, "a channel error rate, 120 bits, symmetric"),
    ("ldpc_decoding", {"bit_error_rate": 0.1}, "no more errors than 0.0.*, 120 bits, symmetric"),
    ("uai_bounds", {"violations": 1}, "no bound on the wrong side of log Z, given 1"),
    ("uai_bounds", {"lower": 1e6}, "no lower side above an upper one, given 4"),
]


def test_there_are_experiments():
    assert "elimination_ising" in NAMES


def load(name):
    try:
        return registry.load(name)
    except registry.MissingPackage as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module", params=NAMES)
def smoke(request):
    """Experiment and result of the smoke preset; running it checks what is promised."""
    experiment = load(request.param)
    return experiment, registry.run(experiment, experiment.spec.presets["smoke"], seed=1)


def doctored(result, changes):
    """The result with all of a column, or a scalar, set to a number."""
    parts = {"columns": dict(result.columns), "scalars": dict(result.scalars)}
    for part in parts.values():
        for name in part.keys() & changes.keys():
            new = changes[name]
            part[name] = np.full(np.shape(part[name]), new)
    assert changes.keys() <= {*parts["columns"], *parts["scalars"]}
    return registry.Result(**parts)


def test_numbers_that_break_a_promise_are_refused(smoke):
    experiment, result = smoke
    mine = [(changes, message) for name, changes, message in DOCTORED if name == experiment.name]
    assert mine and experiment.check.__doc__
    for changes, message in mine:
        expected = f"{experiment.name} breaks its promise: .*{message}"
        with pytest.raises(promises.BrokenPromise, match=expected):
            registry.check(experiment, doctored(result, changes))


def test_the_smoke_preset_keeps_its_promises_runs_twice_alike_and_is_stored(smoke, tmp_path):
    experiment, first = smoke
    config = experiment.spec.presets["smoke"]
    again = registry.run(experiment, config, seed=1)
    for column in first.columns:
        if not column.startswith("seconds"):
            np.testing.assert_array_equal(first.columns[column], again.columns[column])
    folder = store.save(tmp_path, experiment, config, 1, first)
    assert list(store.load(folder).result.columns) == list(first.columns)
    assert (folder / "figure.png").exists() is (experiment.plot is not None)


def test_its_figure_can_be_read(smoke):
    experiment, result = smoke
    figure = experiment.plot(result)
    figure.canvas.draw()
    assert figures.legends(figure) and figures.legends_off_panels(figure)
    assert not figures.lines_without_points(figure)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            assert figures.labels_apart(axis) and figures.integers_at_integers(axis)
            assert figures.label_spans(axis)


def test_its_summary_has_units(smoke):
    result = smoke[1]
    bare = ("ratio", "fraction", "delta", "speed_")  # numbers without a unit
    for scalar, value in result.scalars.items():
        if isinstance(value, float):
            assert result.units.get(scalar) or any(word in scalar for word in bare), scalar
        assert "\n" not in str(value)


@pytest.mark.parametrize("name", NAMES)
def test_its_help_explains_every_field(name, capsys):
    experiment = load(name)
    with pytest.raises(SystemExit):
        run.parse(["--help"], experiment)
    told = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    options = re.split(r" (?=--[a-z-]+ )", told[told.index(" options ") :])
    for field in dataclasses.fields(experiment.spec.presets["default"]):
        flag = "--" + field.name.replace("_", "-")
        [option] = [text for text in options if text.startswith(f"{flag} ")]
        words = option.split("(default:")[0].removeprefix(flag)
        words = re.sub(r"[A-Z]{3,}|[\[\]{}.,|]", " ", words)  # the kind of the value
        assert len(words.split()) >= 2, f"{name} {flag}: {option}"


@pytest.mark.parametrize("name", NAMES)
def test_it_explains_itself(name):
    title = registry.find()[name].title
    assert 10 < len(title) < 80 and title.endswith(".")
    assert f"tally run {name}" in load(name).text
