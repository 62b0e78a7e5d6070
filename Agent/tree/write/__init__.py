"""Writes encoded lines to disk: sinks, the writer, segments, rotation, mirrors, the crash board."""
