"""Statistics over short lists of numbers: quantiles, trends, change points, Welch's test."""
