"""Data: who sees which image when, and the one pipeline that turns files into tensors.

``plan`` and ``windows`` decide (pure functions, NumPy only); ``folders``, ``images`` and ``embedded`` hold the files;
``jobs`` reads what is wanted, ``dali`` and ``torchvision_backend`` execute; ``loader`` joins them. This file imports
none of them, so that the plan and the lay-out of the embedded set work where torch is not installed.
"""
