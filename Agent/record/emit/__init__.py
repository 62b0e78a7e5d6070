"""From a prepared event to its line: context, levels, pipeline, and the counters of `health()`."""
