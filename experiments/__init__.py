"""Runnable experiments, and the plain functions behind the command line.

=============  ===========================================================================
``solve``      ``count``, ``partition``, ``marginals``, ``maximize`` with ``method="auto"``
``cli``        the command line: a file for each verb
``harness``    the registry of experiments, results on disk, figures
``training``   how the weights that ship with the package are made
``data``       small formulas and models of our own making
=============  ===========================================================================

Every other module of this package is one experiment; ``tally list`` shows them.
"""
