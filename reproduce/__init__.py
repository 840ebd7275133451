"""Reproduction of "Yet Another Accelerated SGD: ResNet-50 Training on ImageNet in 74.7 seconds" (arXiv 1903.12650)."""
