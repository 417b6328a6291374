"""Message passing: estimates, certain bounds and learned models of one graph or many.

=====================  =========================================================================
``bp``                 sum-product and max-product; ``schedules``, batches in ``bp_batch``. Layouts,
                       fastest first: ``bp_stencil``, ``bp_pairwise``, ``bp_binary``, ``bp_tables``,
                       ``bp_general``; the local rules of all factors are in ``rules``
``region``             generalised belief propagation, on the regions of ``region_graph``
``survey``             survey propagation and decimation for satisfiability
``mini_bucket``        certain bounds on both sides: ``mini_bucket_tree``, ``cost_shifting``
``trw``                a certain bound above, over the acyclic parts of ``forests``
``mean_field``         a certain bound below: ``cutset``, ``coordinate_ascent``, ``feasible``
``bpnn``               BPNN-D and BPNN-B; ``bpnn_phases``, the learned method for Ising grids
``bpnn_sat``           learned model counting, on the tables that ``clause_clusters`` makes
``training``           fits all of them; ``descent`` fits the bounds
=====================  =========================================================================
"""
