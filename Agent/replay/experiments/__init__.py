"""Test possible causes: replay a run from an event on, with and without that event.

`Trials` in `interventions` is the entry point; that module also locates the event, lists the possible
interventions and measures the outcome. `experiment` runs the forks in a worker process.
"""
