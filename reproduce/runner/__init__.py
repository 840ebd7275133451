"""`bash reproduce/run_all.sh`: options, what a tier needs, the commands that produce it, and the loop that runs them.

Standard library only, so that ``--list``, ``--dry-run`` and typing errors need no set-up.
"""
