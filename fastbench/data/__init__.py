"""Images on disk: which files, of which classes, and whose labels they carry."""
