"""Serving models: engines build launch commands, replicas decide and act, the gateway routes to them."""
