"""Message passing: estimates of one graph or many, plain and learned.

=====================  =========================================================================
``bp``                 sum-product and max-product; ``schedules``, batches in ``bp_batch``. Layouts,
                       fastest first: ``bp_stencil``, ``bp_pairwise``, ``bp_binary``, ``bp_tables``,
                       ``bp_general``; the local rules of all factors are in ``rules``
``gbp``                generalised belief propagation, on the regions of ``region_graph``
``survey``             survey propagation and decimation for satisfiability
``learned``            ``bpnn`` answers: binary graphs by ``bpnn_phases``, counts by ``bpnn_sat`` on
                       the tables that ``clause_clusters`` makes; ``bpnn_layers`` is BPNN-D as
                       published, with its ``bpnn_operators``
=====================  =========================================================================
"""
