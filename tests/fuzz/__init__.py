"""Bad inputs of every kind, generated: ``python -m tests.fuzz --inputs 3000``.

A *surface* (`surfaces/`) draws *scenes*: what lies in a folder, and a command on it. `child` runs a scene in a process
of its own, `oracle` says what must never happen, `campaign` counts, and shrinks what it finds.
"""
