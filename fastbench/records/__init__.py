"""What a run leaves behind: plain data, what is judged of it, and its file."""
