"""The invariance study: one set of weights, many manifestations (Queiruga et al. 2020, section 5).

A *manifestation* is the graph that a scheme and a number of steps make of a continuous-in-depth network. If the network
has learned a differential equation, every manifestation at least as fine as the one it was trained with gives the same
answer. Nothing in this package knows of training, and of files only `store`, which keeps what was computed, and
`report`.
"""
