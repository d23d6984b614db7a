"""Under load: queries that arrive by themselves, batched, answered, timed and scored."""
