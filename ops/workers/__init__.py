"""Worker processes: listed, paused and resumed, supervised, asked for their health."""
