"""Records B held against records A: paired, their ratio, what got worse, and how that is shown."""
