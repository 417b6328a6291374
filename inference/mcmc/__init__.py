"""Markov chains: learned, discrete, tempered; densities of states; and what checks them.

====================  ==========================================================================
``algorithm``         ``SamplingAlgorithm``: ``init`` and ``step``, as BlackJAX has them; ``run``
``discrete_targets``  log densities over finite states, of factor graphs
``metropolis``        accepts and rejects
``random_walk``       Gaussian steps in [D]; ``mala``: with a drift along the gradient
``tempering``         parallel tempering over any kernel; temperatures that reject equally
``annealing``         tempered sequential Monte Carlo: particles, and log Z without a claim
====================  ==========================================================================

Every sampler is a ``SamplingAlgorithm``: pure functions for one chain, ``vmap`` for many. Samples
of a chain claim ``ASYMPTOTIC`` and nothing more.
"""
