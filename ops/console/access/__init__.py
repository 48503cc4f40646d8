"""Who may do what in the console, and how much at once: tokens, sessions, proxies, cross-site protection, quotas."""
