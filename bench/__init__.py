"""What is fast, against what, reproducibly: `make bench`. Not part of the wheel."""
