"""What the service works with: records, and the outcomes of a command. Knows no database and no broker."""
