"""Markov chains: learned, discrete, tempered; densities of states; and what checks them.

====================  ==========================================================================
``algorithm``         ``SamplingAlgorithm``: ``init`` and ``step``, as BlackJAX has them; ``run``
``discrete_targets``  log densities over finite states, of factor graphs
``informed``          Gibbs with gradients and discrete Langevin, for any differentiable density
====================  ==========================================================================

Every sampler is a ``SamplingAlgorithm``: pure functions for one chain, ``vmap`` for many. Samples
of a chain claim ``ASYMPTOTIC`` and nothing more.
"""
