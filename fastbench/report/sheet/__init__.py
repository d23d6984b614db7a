"""From rows and a view of them to a sheet: which lines and columns, marks, footnotes and ratios."""
