"""A model of a GPU cluster that trains ResNet-50: what a step takes, and why. Everything it gives is `modelled`.

`layers` counts the work, `files` reads a machine's constants, `compute` and `network` turn them into seconds, `step`
puts the two side by side, `run` adds start-up and evaluation. `calibrate` uses runs on one node only; `validate` holds
the model against runs on many. No torch, and nothing of the engine.
"""
