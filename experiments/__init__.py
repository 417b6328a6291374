"""Runnable experiments, and the plain functions behind the command line.

=============  ===========================================================================
``solve``      ``count``, ``partition``, ``marginals``, ``maximize`` with ``method="auto"``
``harness``    the command line, the registry of experiments, results on disk, figures
``data``       small formulas and models of our own making
=============  ===========================================================================

Every other module of this package is one experiment; ``tally list`` shows them.
"""
