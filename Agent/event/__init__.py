"""What an event is: values only; no file, no clock, no global is touched in this package."""
