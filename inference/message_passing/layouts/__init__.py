"""How belief propagation lays its messages out, fastest first; all make the same iterates.

============  ==================================================================================
``stencil``   binary pairwise graphs whose neighbours lie at few distances: grids, cubes, chains
``pairwise``  other binary pairwise graphs without hard zeros
``binary``    tables of any arity over variables of two states
``tables``    tables of any arity and domain
``general``   every graph, with clauses and parities, and every schedule
``protocol``  ``Layout``, what each of them offers, and ``LAYOUTS``, from which ``bp`` chooses
============  ==================================================================================
"""
