"""The first difference of two recorded runs, by bisection or by a full comparison; and replay metrics."""
