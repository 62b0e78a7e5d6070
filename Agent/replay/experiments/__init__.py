"""Try what may have caused something: the run with it and without it, from its moment on.

`Trials` in `interventions` is the way in; that module also finds the moment, says what can be done there and
counts what came of it. `experiment` does it in a worker process.
"""
