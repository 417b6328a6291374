"""Inference over exponentially large discrete spaces: problems, oracles and algorithms.

==================  ============================================================================
``estimate``        what a number guarantees: ``Estimate``, ``Claim`` and the combine rules
``samples``         what samples guarantee
``answer``          what an oracle returns: ``Answer``, ``Status``; ``Info`` of entries
``limits``          ``Deadline``, ``OutOfTime``, ``run_until``: time and memory
``randomness``      reproducible draws on the host, from seeds and keys
``files``           files written whole, read packed or not
``training``        fits learned models
``problems``        ``cnf``, ``dimacs``, ``factor_graph``, ``barren``, ``uai``, ``convert``,
                    ``generators``, ``formula_families``, ``parity_rows``,
                    ``trivial`` bounds
``workers``         ``process``: a call in a child; ``background``: one beside its parent;
                    ``within``: an entry within limits; ``dispatch``: many over an executor
``oracles``         ``protocol``: ``SatSession``, ``MapOracle``; ``sat``, ``apart``
``reduction``       ``preprocess``, ``support``: fewer variables, the same count;
                    ``components``, ``definability``; ``chains``: short clauses for long ones;
                    ``dyadic_weights``: no weights, nearly the same count
``exact``           ``elimination``, ``bucket_count``, ``true_counts``, ``exhaustive``,
                    ``cube_table``, ``ganak``
``bounds``          certain bounds: ``mini_bucket``, ``trw``, ``mean_field``
``message_passing`` estimates: ``bp``, ``gbp``, ``survey``; ``learned``
==================  ============================================================================

Importing this package imports nothing else, so it stays light.
"""
