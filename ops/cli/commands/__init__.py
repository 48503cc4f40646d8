"""The commands of `provisioner`, a module a noun. Each parses, calls, prints."""
