"""What the benchmark of belief propagation reports, with a peer of our own making."""

import numpy as np
import pytest

from experiments import bp_benchmark
from experiments.harness import message_passing_peers
from inference.message_passing import bp
from inference.problems import factor_graph, uai

SMALL = bp_benchmark.Config((3,), (6,), batch=2, rounds=8, repeats=1, residual=1e-4)


def plain_kernel(graph):
    """A peer: our plain kernel, said to take a thousand seconds a round."""
    prepared = bp.prepare(graph, fast=False, dtype=np.float32)

    def run(rounds):
        state, _ = bp.run(prepared, bp.init(prepared), iterations=rounds, tolerance=0.0)
        return bp.beliefs(prepared, state), 1000.0 * rounds

    return run


def test_without_a_peer_its_columns_are_nan(monkeypatch):
    monkeypatch.setattr(message_passing_peers, "pgmax", lambda graph: None)
    result = bp_benchmark.run(SMALL, 1)
    assert result.columns["layout"].tolist() == ["stencil", "pairwise", "stencil"]
    assert result.columns["messages"].tolist() == [24, 18, 720]
    assert (result.columns["seconds_rate_tally"] > 0).all()
    for name in ("seconds_rate_pgmax", "seconds_rate_libdai", "seconds_ratio", "difference"):
        assert np.isnan(result.columns[name]).all()
    families = ("grid", "regular", "batch")
    assert list(result.scalars) == [f"seconds_rate_{family}_median" for family in families]
    assert result.columns["difference_plain"].max() < 1e-5
    assert len(bp_benchmark.plot(result).axes) == 1  # no panel for ratios that are not there


def test_a_peer_makes_the_same_rounds(monkeypatch, tmp_path):
    monkeypatch.setattr(message_passing_peers, "pgmax", plain_kernel)
    graph = factor_graph.build([2, 3], [((0, 1), np.arange(6.0).reshape(2, 3))])
    uai.write(graph, tmp_path / "model.uai")
    (tmp_path / "model.uai.evid").write_text("0")
    config = bp_benchmark.Config((), (), 1, str(tmp_path), rounds=8, repeats=2, residual=1e-4)
    result = bp_benchmark.run(config, 1)
    assert result.columns["graph"].tolist() == ["1 of 10x10", "model.uai"]
    assert result.columns["difference"].max() < 1e-5
    np.testing.assert_allclose(
        result.columns["seconds_rate_pgmax"], 1e-9 * result.columns["messages"]
    )
    assert (result.columns["rounds_to_residual"] > 0).all()
    assert result.scalars["seconds_ratio_uai_worst"] > 1
    assert len(bp_benchmark.plot(result).axes) == 2


def test_pgmax_agrees_where_it_is_installed():
    pytest.importorskip("pgmax", exc_type=ImportError)
    [graph] = bp_benchmark._grids(SMALL, 1, 4, 1)
    shares, seconds = message_passing_peers.pgmax(graph)(20)
    expected, _ = plain_kernel(graph)(20)
    np.testing.assert_allclose(shares, expected, atol=1e-5)
    assert seconds > 0
