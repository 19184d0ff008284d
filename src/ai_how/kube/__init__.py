"""What Kubernetes is told: names and configuration as text, so far of GPUs alone."""
