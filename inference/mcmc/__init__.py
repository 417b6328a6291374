"""Markov chains: learned, discrete, tempered; densities of states; and what checks them.

====================  ==========================================================================
``adversarial``       training of NICE proposals by a critic of pairs, as A-NICE-MC has it
``algorithm``         ``SamplingAlgorithm``: ``init`` and ``step``, as BlackJAX has them; ``run``
``annealing``         tempered sequential Monte Carlo: particles, and log Z without a claim
``couplings``         bijections of position and auxiliary: NICE, affine, a turn among latents
``diagnostics``       R-hat, effective sample sizes, modes visited; ArviZ's data
``discrete_targets``  log densities over finite states, of factor graphs
``dobrushin``         how far variables depend on each other, and at which temperature hardly
``flat_histogram``    densities of states, log Z at all temperatures; ``density``: what they hold;
                      ``flat_histogram_count``: of a reduced formula; on ``energy_terms`` and
                      ``flat_histogram_moves``, ``_runs``, ``_starts`` and ``_results``
``gibbs``             Gibbs sampling in chromatic blocks, on ``gibbs_blocks`` and ``gibbs_stencil``
``informed``          Gibbs with gradients and discrete Langevin, for any differentiable density
``likelihood``        training of flows by likelihood, for a turn among their latents
``metropolis``        accepts and rejects
``nice``              Metropolised moves by a bijection; ``nice_fit``: from a log density alone, on
                      ``nice_seeds``, ``nice_checks``, ``objectives``, ``regions`` and
                      ``saved_states``
``random_walk``       Gaussian steps in [D]; ``mala``: with a drift along the gradient
``rank_statistics``   R-hat and effective sample sizes of many quantities at once
``referee``           samplers against exact answers, in one table
``sampling``          draws from a graph by any kernel: starts, warm-up, thinning, limits
``starts``            assignments of positive weight, where chains begin
``swendsen_wang``     clusters that change together in Ising and Potts models; Wolff's too
``tempering``         parallel tempering over any kernel; temperatures that reject equally
``threefry``          the words of ``jax.random.bits``, fast on CPUs, and variates of them
``within_gibbs``      discrete kernels on the discrete latents of NumPyro models, NUTS on the rest
====================  ==========================================================================

Every sampler is a ``SamplingAlgorithm``: pure functions for one chain, ``vmap`` for many. Samples
of a chain claim ``ASYMPTOTIC`` and nothing more.
"""
