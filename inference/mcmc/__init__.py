"""Markov chains: learned, discrete, tempered; densities of states; and what checks them.

============================  ==================================================================
``algorithm``                 ``SamplingAlgorithm``: ``init`` and ``step``, as BlackJAX has; ``run``
``discrete_targets``          log densities over finite states, of factor graphs
``flat_histogram``            densities of states of formulas and models, log Z at all temperatures;
                              ``density``: what they hold; ``flat_histogram_count``: of a reduced
                              formula; on ``energy_terms`` and ``flat_histogram_moves``, ``_runs``,
                              ``_starts`` and ``_results``
============================  ==================================================================

Every sampler is a ``SamplingAlgorithm``: pure functions for one chain, ``vmap`` for many. Samples
of a chain claim ``ASYMPTOTIC`` and nothing more.
"""
