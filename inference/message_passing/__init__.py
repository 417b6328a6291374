"""Message passing: estimates of one graph or many, plain and learned.

=====================  =========================================================================
``bp``                 sum-product and max-product on the ``edge_graph`` of a model, by the local
                       ``rules`` of factors; ``bp_batch`` for many, ``bp_compiled`` for gradients
``layouts``            arrays of messages, fastest first; ``schedules`` say which move when,
                       ``bp_rounds`` moves them, ``confirm`` checks what rounding may have spoilt
``gbp``                generalised belief propagation, on the regions of ``region_graph``
``survey``             survey propagation and decimation for satisfiability
``learned``            ``bpnn_layers``, BPNN-D and BPNN-B as published; ``bpnn_phases`` for binary
                       graphs; ``bpnn_sat`` counts, on the tables that ``clause_clusters`` makes
=====================  =========================================================================
"""
