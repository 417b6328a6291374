"""LDPC codes: their structure, the channels, the decoder."""

import itertools

import numpy as np
import pytest

from experiments import ldpc_decoding
from experiments.harness import registry
from inference.message_passing import bp, edge_graph
from inference.problems import factor_graph, logical_groups


def model_of(code, sent, unary=()):
    sides = np.logical_xor.reduce(sent[code], axis=1)
    checks = logical_groups.ParityGroup(code, sides, np.ones(code.shape, bool))
    factors = [((v,), [0.0, ratio]) for v, ratio in enumerate(unary)]
    return factor_graph.build(np.full(len(sent), 2), factors, logical=[checks])


@pytest.mark.parametrize("length", [6, 60])
def test_codes_are_regular(length):
    code = ldpc_decoding.make_code(3, length)
    assert code.shape == (length // 2, 6)
    np.testing.assert_array_equal(np.bincount(code.ravel()), np.full(length, 3))
    assert all(len(set(row)) == 6 for row in code.tolist())
    assert (code != ldpc_decoding.make_code(4, length)).any()
    with pytest.raises(ValueError, match="divisible by 6, given 20"):
        ldpc_decoding.make_code(0, 20)


@pytest.mark.parametrize(("channel", "level"), [("symmetric", 0.1), ("gaussian", 0.8)])
def test_channels_tell_calibrated_log_ratios(channel, level):
    rng = np.random.default_rng(0)
    sent = rng.random(200_000) < 0.5
    ratios = ldpc_decoding.log_ratios(rng, sent, channel, level)
    probability = 1 / (1 + np.exp(-ratios))  # of a one, the prior being even
    for low, high in itertools.pairwise([0.0, 0.15, 0.5, 0.85, 1.0]):
        here = (probability > low) & (probability <= high)
        if here.any():
            assert sent[here].mean() == pytest.approx(probability[here].mean(), abs=0.01)


def test_the_decoder_runs_the_library_s_belief_propagation():
    rng = np.random.default_rng(1)
    sent = rng.random(60) < 0.5
    code = ldpc_decoding.make_code(1, 60)
    ratios = ldpc_decoding.log_ratios(rng, np.stack([sent] * 3), "gaussian", 0.6)
    model = edge_graph.prepare(model_of(code, sent), dtype=np.float32)
    bits, iterations = ldpc_decoding.decode(model, ratios.astype(np.float32), 50)
    np.testing.assert_array_equal(bits, np.stack([sent] * 3))
    assert 1 <= int(iterations) < 50
    for word in ratios:
        marginals, info = bp.marginals(model_of(code, sent, word))
        assert info.converged
        np.testing.assert_array_equal(marginals[:, 1] > 0.5, sent)


def test_words_without_errors_need_no_iteration():
    code, sent = ldpc_decoding.make_code(1, 60), np.arange(60) % 3 == 0
    model = edge_graph.prepare(model_of(code, sent), dtype=np.float32)
    ratios = np.where(sent, 3.0, -3.0).astype(np.float32)[None]
    bits, iterations = ldpc_decoding.decode(model, ratios, 50)
    assert int(iterations) == 0
    np.testing.assert_array_equal(bits[0], sent)


def test_smoke_decodes_below_the_threshold_and_fails_above():
    experiment = registry.load("ldpc_decoding")
    result = registry.run(experiment, experiment.spec.presets["smoke"], seed=0)
    below = result.columns["level"] < [
        ldpc_decoding.THRESHOLDS[one] for one in result.columns["channel"]
    ]
    rate = result.columns["bit_error_rate"]
    assert below.tolist() == [True, False] * 2
    assert (rate[below] < 0.02).all() and (rate[~below] > 0.05).all()
    assert (rate[below] < result.columns["channel_error_rate"][below]).all()
    for channel, threshold in ldpc_decoding.THRESHOLDS.items():
        assert 0 < result.scalars[f"{channel}_half_of_words"] < 1.3 * threshold
    assert len(experiment.plot(result).axes) == 2
