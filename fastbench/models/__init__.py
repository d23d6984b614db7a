"""From a name to a model ready to be measured, whoever made it."""
