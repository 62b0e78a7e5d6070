"""What is to be replayed: the run that is meant, its recording, its actions in order, and the target."""
