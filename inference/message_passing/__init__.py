"""Message passing: estimates of one graph or many, plain and learned.

=====================  =========================================================================
``bp``                 sum-product and max-product; ``schedules``, batches in ``bp_batch``. Layouts,
                       fastest first: ``bp_stencil``, ``bp_pairwise``, ``bp_binary``, ``bp_tables``,
                       ``bp_general``; the local rules of all factors are in ``rules``
``gbp``                generalised belief propagation, on the regions of ``region_graph``
``survey``             survey propagation and decimation for satisfiability
``learned``            ``bpnn_layers``, BPNN-D and BPNN-B as published; ``bpnn_phases`` for binary
                       graphs; ``bpnn_sat`` counts, on the tables that ``clause_clusters`` makes
=====================  =========================================================================
"""
