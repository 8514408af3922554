"""Models that turn images and texts into vectors; shared by stages and the trainer."""
