"""Each replayed action against its recording, and the verdict over all of them."""
