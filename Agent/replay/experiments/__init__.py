"""Try what may have caused something: the run with it and without it, from its moment on.

`run_experiments` is the way in; `locate` finds the moment, `interventions` says what can be done there,
`experiment` does
it in a child process (`child`), `player` notices the moment, `metrics` counts what came of it.
"""
