"""Real schedulers for the tests, started on this machine, each in a private folder, and stopped without a trace."""
