"""Go on from a point of a recorded run: as it was (resume), changed (fork), or with many changes (sweep)."""
