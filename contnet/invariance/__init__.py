"""The invariance study: one set of weights, many manifestations (Queiruga et al. 2020, section 5).

A *manifestation* is the graph that a scheme and a number of steps make of a continuous-in-depth
network. If the network has learned a differential equation, every manifestation at least as fine as
the one it was trained with gives the same answer.

A study is made in two parts. `sweep` generates results: it evaluates one *variant* of the network
after another, which is a manifestation with or without new batch-norm statistics, and with theta(t)
as trained or projected onto another basis. Judges then look at the results: `verdict`, `classes`,
`budget`, and `convergence`, which looks at the states of the ODE blocks. `study` puts them
together. `store` keeps on disk what was computed, `report` writes what was found.
"""
