"""Made-up secrets planted through every entrance, which `doctor --canary` then searches for on disk."""
