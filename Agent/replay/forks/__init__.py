"""Continue a recorded run from a point: unchanged (resume), changed (fork), or with many changes (sweep)."""
