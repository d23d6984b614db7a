"""From a configuration to records: the plan of rows, what they share, and how each is measured."""
