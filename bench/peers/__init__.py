"""The same work in frameworks that exist, by their own idioms: `make peers`. Runs in an environment of its own."""
