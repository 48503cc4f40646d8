"""The commands of dead letters: they look at them, or act on them."""
