"""From a finished line to the disk: sinks, the writer, segments, rotation, mirrors, the crash board."""
