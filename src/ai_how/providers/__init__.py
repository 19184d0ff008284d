"""What brings a cluster's machines and services into being. One module a provider, behind one protocol."""
