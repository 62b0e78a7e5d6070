"""Test possible causes: replay a run from an event on, with and without that event.

`CauseExperiments` in `interventions` is the entry point; that module also locates the event, lists possible
interventions and measures the outcome. `experiment` runs the forks in a worker process.
"""
