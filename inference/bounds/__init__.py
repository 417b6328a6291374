"""Certain bounds on log Z and on maxima, in numpy: a model is bounded once.

=====================  =========================================================================
``mini_bucket``        both sides, over the tree of ``power_sums``, fitted by ``cost_shifting``
``trw``                a bound above, over the acyclic parts of ``forests``
``mean_field``         a bound below: ``cutset``, ``coordinate_ascent``, ``cases``
``feasible``           good assignments, for the lower side of all three
``descent``            fits the bounds
``entries``            what all three begin and end with
=====================  =========================================================================
"""
