"""Text from outside, made printable, masked or comparable. Pure."""
