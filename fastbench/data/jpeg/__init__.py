"""Is a file a sound JPEG? Its header, a quick look, and a full decode."""
