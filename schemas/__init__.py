"""Tables that Longtail writes: one file a table, one `pa.schema` constant each."""
