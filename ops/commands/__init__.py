"""The commands of `provisioner`, by what they are about. Each parses, calls, prints."""
