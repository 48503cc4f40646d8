"""What is kept of websites at rest, and for how long: an owner's data is erased, old history is pruned."""
