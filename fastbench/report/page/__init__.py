"""One HTML page of records: `content` says what is on it, `page` puts it into a file."""
