"""Stages annotate shards; each lives in its own folder and meets the others through columns."""
