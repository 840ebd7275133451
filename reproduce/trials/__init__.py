"""What is shown to hold by trying it: killed runs, weights across hosts, network namespaces, tuned rates."""
