"""HTML pages: templates, their rendering, and the files that a browser loads with them."""
