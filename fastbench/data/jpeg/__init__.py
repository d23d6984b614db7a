"""Whether a file is a sound JPEG: its header, a quick check, and a full decode."""
