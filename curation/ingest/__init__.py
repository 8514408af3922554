"""Ingest: freeze a work list, then take the listed files into image shards."""
