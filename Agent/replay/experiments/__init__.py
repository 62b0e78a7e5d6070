"""Try what may have caused something: the run with it and without it, from its moment on.

`run_experiments` is the way in; `interventions` finds the moment and says what can be done there,
`experiment` does it in a worker process, `interventions` also counts what came of it.
"""
