"""Caption: what every image shows, in words, for a text-to-image model to learn from."""
