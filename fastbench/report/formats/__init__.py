"""A sheet or a record as text: for a terminal, as Markdown, CSV, JSON lines, LaTeX."""
