"""One question, any method: count, partition, marginals, maximize, sample, ``method="auto"``.

    >>> result, info = count(cnf.from_clauses([[3, 4]], num_variables=7))
    >>> result.count, info.method
    (96, 'ganak')

The one place that knows all families; the command line and the notebooks call it. Whatever stops a
method early (a time limit, Ctrl-C) weakens the claim and shows in ``info.status``.

===================  ==========================================================================
``methods``          the table of all methods
``counting``         ``count``; ``formulas`` reads what it is given, ``count_methods`` asks one
                     method, ``race`` two
``graph_questions``  ``partition``, ``marginals``, ``maximize``, ``sample``; ``graph_methods`` asks
                     one method or several, ``graph_runs`` within limits, ``decoding`` finds
                     assignments
``info``             how an answer came about
===================  ==========================================================================
"""

from experiments.solve.counting import count
from experiments.solve.graph_questions import marginals, maximize, partition, sample
from experiments.solve.info import Info

__all__ = ["Info", "count", "marginals", "maximize", "partition", "sample"]
