"""Inference over exponentially large discrete spaces: problems, oracles and algorithms.

==================  ============================================================================
``estimate``        what a number guarantees: ``Estimate``, ``Claim`` and the combine rules
``answer``          what an oracle returns: ``Answer``, ``Status``
``problems``        ``cnf``, ``dimacs``, ``factor_graph``, ``barren``, ``uai``, ``convert``,
                    ``generators``
``oracles``         ``sat``, ``apart``, ``preprocess``, ``ganak``, ``exhaustive``, ``process``,
                    ``dispatch``
``exact``           ``elimination``: log Z, marginals and MAP by variable elimination
``message_passing`` ``bp``, ``region``, ``survey``; certain bounds ``mini_bucket``, ``trw`` and
                    ``mean_field``; learned ``bpnn``, ``bpnn_phases``, ``bpnn_sat``
==================  ============================================================================

Importing this package imports nothing else, so it stays light.
"""
