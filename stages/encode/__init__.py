"""Encode: latents and text features, made once, for training that then runs no encoder."""
