"""Tables and texts that commands print on a terminal, by noun. Know no database and no broker."""
