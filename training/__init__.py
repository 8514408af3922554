"""The trainer: flow matching, preference tuning and distillation of diffusion transformers.

Training reads nothing but snapshots. It takes the rows, captions, buckets and weights that a
snapshot lists, never a stage's columns or a folder of images, and it records the id of that
snapshot in every checkpoint. So any checkpoint can say which images made it, and why those.
"""
