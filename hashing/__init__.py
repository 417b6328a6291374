"""Counting, integration and sampling by random parity constraints.

====================  ============================================================================
``parity.rows``       packed rows on the host: seeded draws, checks of models; numpy only
``parity.gf2``        ``Parity``; row reduction, rank, null space, solutions; jitted
``parity.families``   dense, Bernoulli and fixed-weight hashes from JAX keys
``parity.affine``     the points of {x : A x = b}
``parity.encode``     rows as DIMACS XORs
``counting``          ``approxmc``, the (epsilon, delta) counter: ``support`` reduces the formula,
                      ``rounds`` search ``cells``, ``guarantee`` and ``anytime`` claim, ``witness``
                      and ``verify`` check, with ``extensions`` of the models and ``proofs`` by
                      ``eliminate``, ``repairs`` and solvers; ``adaptive``, ``short_xor`` bounds
====================  ============================================================================

Importing this package imports nothing else, so it stays light.
"""
