"""Markov chains: learned, discrete, tempered; densities of states; and what checks them.

====================  ==========================================================================
``algorithm``         ``SamplingAlgorithm``: ``init`` and ``step``, as BlackJAX has them; ``run``
``diagnostics``       R-hat, effective sample sizes, modes visited; ArviZ's data
``discrete_targets``  log densities over finite states, of factor graphs
``gibbs``             Gibbs sampling in chromatic blocks, on ``gibbs_blocks`` and ``gibbs_stencil``
``informed``          Gibbs with gradients and discrete Langevin, for any differentiable density
``rank_statistics``   R-hat and effective sample sizes of many quantities at once
``swendsen_wang``     clusters that change together in Ising and Potts models; Wolff's too
``threefry``          the words of ``jax.random.bits``, fast on CPUs, and variates of them
====================  ==========================================================================

Every sampler is a ``SamplingAlgorithm``: pure functions for one chain, ``vmap`` for many. Samples
of a chain claim ``ASYMPTOTIC`` and nothing more.
"""
