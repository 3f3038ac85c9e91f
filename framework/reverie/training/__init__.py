"""Training: environments, replay and collection, ticks and stages, checkpoints, the run folder."""
