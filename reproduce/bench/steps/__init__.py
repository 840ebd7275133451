"""A campaign's steps: what they are, how each is run in a process of its own, and what is kept of it. No torch."""
