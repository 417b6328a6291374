"""Message passing: estimates of one graph or many, plain and learned.

=====================  =========================================================================
``bp``                 sum-product and max-product on the ``edge_graph`` of a model, by the local
                       ``rules`` of factors; ``bp_batch`` for many, ``bp_compiled`` for gradients
``layouts``            arrays of messages, fastest first; ``schedules`` say which move when,
                       ``bp_rounds`` moves them and checks what rounding may have spoilt
``gbp``                generalised belief propagation, on the regions of ``region_graph``
``survey``             survey propagation and decimation for satisfiability
``learned``            ``bpnn`` answers: binary graphs by ``bpnn_phases``, counts by ``bpnn_sat`` on
                       the tables that ``clause_clusters`` makes; ``bpnn_layers`` is BPNN-D as
                       published, with its ``bpnn_operators``
=====================  =========================================================================
"""
