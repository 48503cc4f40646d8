"""The command line `provisioner`."""
