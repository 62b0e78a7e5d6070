"""Try what may have caused something: the run with it and without it, from its moment on.

`testing` is the way in; `places` finds the moment, `interventions` says what can be done there, `trial` does
it in a child process (`child`), `player` notices the moment, `measures` counts what came of it.
"""
