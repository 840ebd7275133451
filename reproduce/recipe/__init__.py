"""What a run is: the schema, the strict TOML reader, the rules that join values, and how gradients are grouped.

Standard library only: reports and launchers read recipes on machines that have neither torch nor NumPy.
"""
