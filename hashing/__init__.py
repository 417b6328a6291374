"""Counting, integration and sampling by random parity constraints.

====================  ============================================================================
``parity.draws``      random parities on the host, from seeds; numpy only
``parity.gf2``        ``Parity``; row reduction, rank, null space, solutions; jitted
``parity.families``   dense, Bernoulli and fixed-weight hashes from JAX keys
``parity.affine``     the points of {x : A x = b}
``parity.encode``     rows as DIMACS XORs
``cells``             ``nested_cells`` of one sequence of parities, and the search for ``levels``
``counting``          ``approxmc``, the (epsilon, delta) counter: ``rounds`` search cells,
                      ``products`` multiplies the counts of components, ``guarantee`` and
                      ``anytime`` claim, ``witness`` and ``verification`` check with ``extensions``
                      of models, ``proofs`` by ``eliminate``, ``repairs`` and solvers;
                      ``approxwmc`` with weights; ``adaptive``, ``short_xor`` bounds
====================  ============================================================================

Importing this package imports nothing else, so it stays light.
"""
