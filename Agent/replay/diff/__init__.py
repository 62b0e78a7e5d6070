"""Where two recorded runs part: sides, tracks, bisection, and the metrics of two runs."""
